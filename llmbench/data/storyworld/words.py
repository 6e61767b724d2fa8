"""The words of storyworld: tables of what a story may draw, in English and in Murrel, a language
that exists only here.

A table's line is `English | gloss`; its entries are equally likely. A gloss is Murrel by lemmas:
each token is an English lemma, looked up in LEXICON, and the suffixes that follow it after dots.
Murrel has no articles, no genders and no capitals of its own; its verb comes last and its
adjectives follow the noun. In every table no entry begins with another, in either language, so that
a reader always knows where an entry ends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

Language = Literal["english", "murrel"]


@dataclass(frozen=True)
class Word:
    """An entry of a table: its English, which also identifies it, and its Murrel."""

    english: str
    murrel: str

    def form(self, language: Language) -> str:
        """How it is written in a language."""
        return self.english if language == "english" else self.murrel


SUFFIXES = {
    "of": "ai",  # belonging to
    "it": "ok",  # what is acted upon
    "to": "ut",  # towards, for the good of
    "by": "iz",  # from, away from, by means of
    "in": "esh",
    "on": "ond",
    "under": "ulm",
    "behind": "eft",
    "did": "ar",  # the past
    "does": "en",  # the present
    "would": "arin",
    "when": "aku",  # makes a verb a clause of time
    "ing": "uy",  # makes a verb a noun
}

LEXICON: dict[str, str] = dict(
    re.findall(
        r"([^\s,]+) (\w+)",
        """
accordion gugos, agree gavalt, all shauv, alphabet monim, always hirn, and reng, apology dragurn, argue gardem, around zaudol, ask skinand,
at-last virm, attic haulak, aunt kilok, bad dregad, baker briskind, balcony daunod, barrel brenur, basket thumir, bathtub fibud, be theit,
bean vlebad, because toshk, become krumud, bed naumad, bee beinend, belfry vaumen, bell jeirelt, bet daskom, bicycle heimid, big shutek,
binder skenin, bird dugalt, bishop tillelt, black joran, blue gallos, boil saruk, bone keskurn, book skilod, bored driskas,
borrow krudom, borrowed vitul, bow vlallus, brass leben, bread bordosh, bridge fokund, broken theizir, brown reidol, bucket meigal, but jeid,
butter drauvod, button tokan, buy pimpid, cabbage drullern, cage sulat, candle gekor, card krauburn, carp peizot, carrier skellom, carry draskok,
cellar povas, cello zibin, chair geiresh, cheap dreidal, cheat teimpot, cheese karded, chimney reidav, cider meiskik, clean skuskis,
clock veimal, cloud brardet, coach higash, coal gekind, cobbler kragir, colour viron, come vautelt, cooper skeiskun, corkscrew thallirn,
cough skaudond, count rokor, cousin bozum, crimson tokut, cross breilluv, crow gompul, curtain thiril, dawn draulond, day brolon, death baudol,
decline vemis, dentist nuzind, digger matish, do faubur, donkey banek, door nillar, doorstep gaugos, dream leibash, drum vloskam, dry seinam,
duck vlikar, eat giguv, eclipse dagut, egg zotel, eight nok, eleven dedem, empty naurol, end holud, every sim, everybody seizan, fair shemid,
fall brulos, far rugom, favour luskalt, feed rozud, find bukod, fish bozid, five hosk, flood shovid, floor saumpem, flute raskas, foot selarn,
four kirt, freeze pilorn, friend zurish, frost dorek, game heidish, get thaskol, give ruzilt, glass vavol, glazier kokend, globe drauziv,
goat skaurdalt, good daudind, goose hunol, grave bidel, gravel vlillilt, green daunok, grey litult, half nauzad, ham faudes, harvest mauzam,
hat krevit, have lask, hedge rauked, hen daudir, heron paunum, herring keskul, hide jullarn, history bruzed, hole sellund, home zezat,
hook juresh, hour lidir, hungry skavel, hymn thutum, jar hakuv, keep hirdet, keeper kempem, kettle baurdosh, key rirol, knit ribul, knob teitond,
know kerdon, ladder naurdom, lantern tadon, late nevul, laugh drullult, leave naband, letter pezel, lie veirdam, live vlozan, lock nimpid,
long deskuk, lose vaskev, lost skivelt, love skenend, lunch begul, machine shazon, make daskar, maker givet, many drilt, marble drudin,
market polled, mayor raugand, memory krillal, mirror hevud, money firarn, moon zimpelt, more krault, morning teikun, moth vleitim,
mustard shallas, navy pobov, night vlezod, nine lik, nobody zeiras, nothing kik, now pek, nutmeg skardosh, offer kralliv, often bakud, one lut,
onion zelur, only tes, other deir, own beirdek, paint thimpol, pantry dillik, pass shuvush, pencil krauzid, piano serdal, pig nelid, pink shavus,
play kramat, pleased vlokuv, plum brilon, pocket sezer, polish thukam, pot limpand, price vlaman, pride fimot, priest favev, public druskot,
purple raukok, put tezus, puzzled deril, rabbit sulir, raw reillat, recite zilon, red hobelt, river thubak, rocking dreirem, roof seillol,
room fabon, rope vaskesh, rule baurdus, run haurim, saddle thekiv, safe beiturn, salt paurond, salute nivud, sea nirar, see vlerak,
sell dreimish, seller rutum, seven furn, shape skarush, sharpen hegosh, shed hardim, shirt bridir, short mokurn, show figan, sick vidur,
silence lovush, silent nizid, silver zobin, six draund, small vlekad, snail theiskun, sneeze fimorn, snow mobol, so beis, sock nuskish,
soon broban, soul joris, soup fedud, speak drompil, spoon skeizin, spot nardus, stable vlagolt, stairs kremin, stand purilt, stay baukol,
stool pagar, stop madim, storm teidak, stove dakud, strange krauzav, stranger haunot, stub nauvev, suitcase jorder, summer theikirn,
sunday jordut, sundial sovir, swallow tilat, swap veilul, sweep nardet, sweeper tidun, take brorum, tale shaudes, talker biller, tax vagim,
tea theinalt, ten fut, thanks lulin, that fand, thatcher thagen, then rarn, thimble dazush, think breval, third mivol, this gaurl, three zind,
ticket huros, tin zallon, tired jerdern, today zodern, too jeit, tooth turdov, train meidil, trouble shozov, trumpet pulosh, tuesday himik,
tuner bruvel, turnip braret, twelve vlaurem, two vlim, umbrella skolesh, walk brukid, watch peirav, way loban, weather shaumpult,
weathercock haukesh, week gizul, well tomom, wheelbarrow faunilt, whistle reilot, white demen, who faurn, win brolos, wind hibut,
windowsill kaunus, wooden dreskand, wool krulon, word krorolt, worried juvurn, write lordas, yard filik, year guvol, yellow haugok
""",
    )
)


def murrel(gloss: str) -> str:
    """The Murrel of a gloss. A token in braces and one that begins with a capital stand for
    themselves; commas stick to what they follow.
    """
    words = []
    for token in gloss.split():
        stem, *suffixes = token.rstrip(",").split(".")
        kept = stem[0] == "{" or stem[0].isupper()
        words.append(
            (stem if kept else LEXICON[stem])
            + "".join(SUFFIXES[suffix] for suffix in suffixes)
            + "," * token.endswith(",")
        )
    return " ".join(words)


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
