"""The words of the story world, in English and in Murrel, a language that exists only here.

A table's line is `English | gloss`; its entries are equally likely. In every table no entry begins
with another, in either language, so that a reader always knows where an entry ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from llmbench.data.storyworld.murrel import murrel

Language = Literal["english", "murrel"]


@dataclass(frozen=True)
class Word:
    """An entry of a table: its English, which also identifies it, and its Murrel."""

    english: str
    murrel: str

    def form(self, language: Language) -> str:
        """How it is written in a language."""
        return self.english if language == "english" else self.murrel


def _table(lines: str) -> dict[str, Word]:
    """A table from its lines; where a line has no gloss, the entry is a name and the same in both
    languages.
    """
    found = {}
    for line in lines.strip().splitlines():
        english, *more = (part.strip() for part in line.split("|"))
        found[english] = Word(english, murrel(more[0]) if more else english)
    return found


WOMEN = frozenset(
    (
        "Odile",
        "Petra",
        "Wenna",
        "Mabel",
        "Greta",
        "Tilda",
        "Nora",
        "Bettine",
        "Lumi",
        "Sanna",
        "Clemency",
        "Yrsa",
    )
)
MEN = frozenset(
    (
        "Anselm",
        "Bruno",
        "Casper",
        "Dunstan",
        "Edgar",
        "Fergus",
        "Gideon",
        "Jorin",
        "Milo",
        "Rufus",
        "Tobin",
        "Viktor",
    )
)

NUMBERS = (
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)

TABLES = {
    "name": _table("\n".join(sorted(WOMEN | MEN))),
    "village": _table("""
Low Pudding
Grimble
Nether Wick
Saltby
Muddlecombe
Over Dabbling
Crabwell
Puddock
Fenny Bottle
Great Humming
Tarnish
Wexley Stoop
Dripping Morton
Halfmoor
Quillby
Upper Yawn
"""),
    "trade": _table("""
baker | baker
cooper | cooper
clockmaker | clock.of maker
thatcher | thatcher
glazier | glazier
piano tuner | piano.of tuner
beekeeper | bee.of keeper
letter carrier | letter.of carrier
gravedigger | grave.of digger
cobbler | cobbler
locksmith | lock.of maker
bookbinder | book.of binder
chimney sweep | chimney.of sweeper
ropemaker | rope.of maker
cheesemonger | cheese.of seller
tax collector | tax.of keeper
"""),
    "omen": _table("""
great frost | frost big
two harvests | harvest two
missing bell | bell lost
long eclipse | eclipse long
green snow | snow green
cheap herring | herring cheap
late swallows | swallow late
third flood | flood third
talking crow | crow speak
broken bridge | bridge broken
silent mayor | mayor silent
bad cider | cider bad
short summer | summer short
plentiful moths | moth many
borrowed bishop | bishop borrowed
empty fair | fair empty
"""),
    "mood": _table("""
cross | cross
pleased | pleased
bored | bored
worried | worried
tired | tired
hungry | hungry
puzzled | puzzled
homesick | home.to sick
"""),
    "habit": _table("""
counted the stairs | stairs.it count.did
polished a spoon | spoon.it polish.did
whistled a hymn | hymn.it whistle.did
sharpened a pencil | pencil.it sharpen.did
ate a raw onion | onion.it raw eat.did
wound the clock | clock.it wind.did
walked around the well | well.by around walk.did
recited the alphabet | alphabet.it recite.did
swept the doorstep | doorstep.it sweep.did
wrote to a cousin | cousin.to write.did
saluted the moon | moon.to salute.did
argued with the weather | weather.by argue.did
knitted half a sock | sock.it half knit.did
bowed to the stove | stove.to bow.did
buttered more bread | bread.it more butter.did
lay down on the floor | floor.on lie.did
"""),
    "thing": _table("""
kettle | kettle
ladder | ladder
mirror | mirror
trumpet | trumpet
teapot | tea.of pot
wheelbarrow | wheelbarrow
lantern | lantern
rocking chair | chair rocking
umbrella | umbrella
suitcase | suitcase
barrel | barrel
drum | drum
birdcage | bird.of cage
bathtub | bathtub
cello | cello
weathercock | weathercock
globe | globe
basket | basket
saddle | saddle
bicycle | bicycle
footstool | foot.of stool
accordion | accordion
sundial | sundial
typewriter | letter.of machine
"""),
    "colour": _table("""
red | red
blue | blue
green | green
yellow | yellow
grey | grey
brown | brown
purple | purple
pink | pink
black | black
white | white
silver | silver
crimson | crimson
"""),
    "place": _table("""
in the cellar | cellar.in
under the stairs | stairs.under
behind the stove | stove.behind
in the attic | attic.in
on the roof | roof.on
behind the curtain | curtain.behind
under the bed | bed.under
in the pantry | pantry.in
on the balcony | balcony.on
in the shed | shed.in
behind the piano | piano.behind
under the bridge | bridge.under
in the belfry | belfry.in
on the windowsill | windowsill.on
in the stable | stable.in
under the hedge | hedge.under
"""),
    "trinket": _table("""
brass key | key brass
glass marble | marble glass
thimble | thimble
tin whistle | flute tin
dried bean | bean dry
bone button | button bone
pocket watch | pocket.of watch
fish hook | hook fish.of
wooden tooth | tooth wooden
candle stub | stub candle.of
train ticket | train.of ticket
nutmeg | nutmeg
small bell | bell small
love letter | letter love.of
doorknob | door.of knob
corkscrew | corkscrew
"""),
    "animal": _table("""
geese | goose
goats | goat
hens | hen
rabbits | rabbit
pigs | pig
ducks | duck
snails | snail
donkeys | donkey
"""),
    "number": _table("\n".join(f"{number} | {number}" for number in NUMBERS)),
    "when": _table("""
One morning | morning.in one
On Tuesday | tuesday.in
After lunch | lunch.by
A week later | week.by
At dawn | dawn.in
During a storm | storm.in
On market day | market.of day.in
Late one night | night.in late
"""),
    "topic": _table("""
the price of turnips | turnip.of price
the decline of hats | hat.of decline
a dream with nine dentists | dentist.of nine dream
the best way to boil an egg | egg.of boil.ing
the character of the mayor | mayor.of soul
a cousin in the navy | navy.of cousin
the shape of the clouds | cloud.of shape
wool | wool
the trouble with herons | heron.of trouble
a remarkable cough | cough strange
the rules of an invented game | game.of rule
the sea as seen from far away | sea far
other talkers | talker other
the history of gravel | gravel.of history
mustard | mustard
the death of a famous carp | carp.of death
"""),
    "stake": _table("""
a cabbage | cabbage
a clean shirt | shirt clean
a bucket of coal | coal.of bucket
half a ham | ham half
a public apology | apology public
an hour of silence | silence.of hour
two plums | plum two
a jar of buttons | button.of jar
"""),
    "event": _table("""
it would snow in the night | night.in snow fall.would
the chimney would hold | chimney stand.would
the priest would sneeze | priest sneeze.would
nobody would notice the hole | hole.it nobody see.would
the coach would be late | coach late come.would
the river would freeze | river freeze.would
the soup would boil over | soup boil.would
a stranger would ask for salt | stranger salt.it ask.would
"""),
}

PERSONS = ("hero", "friend", "third")
_PEOPLE = (
    *PERSONS,
    "holder",
    "keeper",
    "taker",
    "giver",
    "passer",
    "receiver",
    "better",
    "rival",
    "winner",
    "loser",
    "guest",
)
_OTHERS = {
    "friend_trade": "trade",
    "third_trade": "trade",
    "old_colour": "colour",
    "count": "number",
    "more": "number",
    "fewer": "number",
}


def table(slot: str) -> dict[str, Word]:
    """The table a slot is filled from, by the English of its entries."""
    return TABLES["name" if slot in _PEOPLE else _OTHERS.get(slot, slot)]


@cache
def entry_forms(language: Language) -> dict[str, str]:
    """How each entry of each table is written in a language; no entry stands in two tables."""
    return {
        english: word.form(language) for words in TABLES.values() for english, word in words.items()
    }
