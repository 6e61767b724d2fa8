"""The sentences of storyworld: for each kind of sentence its wordings, each in English and as a
gloss for Murrel (see murrel.py).

A line is `weight | English | gloss`. In the English, {+slot} draws the slot's entry, {slot} repeats
what is known, and {slot.she} and {slot.Her} are pronouns, used only where nobody else can be meant.
The gloss names the same slots, each once at least if it is drawn, in the order of Murrel. No
sentence has a full stop in it. Of the kinds that may stand at one place, no two wordings can make
the same sentence, in either language. Only the kind `closing` begins with "So ends": it stands
last, and nothing can follow it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmbench.data.storyworld.murrel import murrel
from llmbench.data.storyworld.words import Language

_SENTENCES = {
    "opening": (
        """
3 | In the year of the {+omen}, {+hero} was the {+trade} of {+village} | {omen}.of year.in {hero} {village}.of {trade} be.did
2 | {+hero} was a {+trade} in {+village} in the year of the {+omen} | {hero} {village}.in {omen}.of year.in {trade} be.did
2 | {+village} had only one {+trade} in the year of the {+omen}, and that was {+hero} \
| {village} {omen}.of year.in {trade}.it one have.did, and {hero} that be.did
"""
    ),
    "habit": (
        """
3 | Whenever {hero.she} was {+mood}, {hero.she} {+habit} | {mood} be.when, always {habit}
2 | {hero} {+habit} whenever {hero.she} was {+mood}, which was often | {hero} often {mood} be.when {habit}
2 | It was well known that {hero}, when {+mood}, {+habit} | everybody know.did, that {hero} {mood} {habit}
"""
    ),
    "company": (
        """
3 | {hero.Her} friends were {+friend} the {+friend_trade} and {+third} the {+third_trade} \
| {friend} {friend_trade} and {third} {third_trade} friend be.did
2 | {+friend} the {+friend_trade} lived next door, and {+third} the {+third_trade} lived wherever there was soup \
| {friend} {friend_trade} door.in other live.did, and {third} {third_trade} soup.in live.did
2 | On Sundays {hero.she} played cards with {+friend} the {+friend_trade} and {+third} the {+third_trade}, who both cheated \
| sunday.in {friend} {friend_trade} and {third} {third_trade}.by card.it play.did, and two cheat.did
"""
    ),
    "treasure": (
        """
3 | {hero} owned a {+colour} {+thing}, which {hero.she} kept {+place} | {hero} {thing} {colour}.it own.did, and {place} keep.did
2 | The pride of {hero} was a {+colour} {+thing}, and it stood {+place} | {hero}.of pride {thing} {colour} be.did, and {place} stand.did
1 | An aunt had left {hero} a {+colour} {+thing}, for which there was room only {+place} \
| aunt {hero}.to {thing} {colour}.it leave.did, but room {place} only be.did
"""
    ),
    "trinket": (
        """
3 | {+keeper} always carried a {+trinket} | {keeper} always {trinket}.it carry.did
2 | In one pocket {+keeper} carried a {+trinket}, and nobody asked why | {keeper} pocket.in {trinket}.it carry.did, and nobody ask.did
1 | {+keeper} had once won a {+trinket} at a fair and showed it to everyone | {keeper} fair.in {trinket}.it win.did, and everybody.to show.did
"""
    ),
    "flock": (
        """
3 | {hero} also kept {+count} {+animal} | {hero} {animal}.it {count} too keep.did
2 | There were {+count} {+animal} in the yard of {hero}, all of them unpaid | {hero}.of yard.in {animal} {count} be.did, all money.by
2 | {hero} fed {+count} {+animal} every morning and got little thanks \
| {hero} every morning.in {animal}.it {count} feed.did, but thanks.it small get.did
"""
    ),
    "move": (
        """
2 | {+when} {holder} carried the {thing} off and left it {+place} | {when} {holder} {thing}.it carry.did, and {place} leave.did
2 | {+when} the {thing} was in the way, so {holder} put it {+place} | {when} {thing} way.in be.did, so {holder} {place} put.did
1 | {+when} {holder} found a better spot for the {thing}, namely {+place} | {when} {holder} {thing}.to spot.it good find.did, this {place} be.did
"""
    ),
    "give": (
        """
3 | {+when} {giver} gave the {thing} to {+taker}, who kept it {+place} | {when} {giver} {taker}.to {thing}.it give.did, and this {place} keep.did
2 | {+when} {+taker} borrowed the {thing} from {giver} for good and hid it {+place} \
| {when} {taker} {giver}.by {thing}.it borrow.did, and {place} hide.did
1 | {+when} {giver} lost the {thing} at cards, so {+taker} took it away and put it {+place} \
| {when} {giver} card.by {thing}.it lose.did, so {taker} take.did, and {place} put.did
"""
    ),
    "paint": (
        """
2 | {+when} {holder} painted the {thing} {+colour} | {when} {holder} {thing}.it {colour} paint.did
1 | {+when} a pot of paint fell over, and from then on the {thing} was {+colour} | {when} colour.of pot fall.did, and {thing} {colour} be.did
2 | {+when} {holder} grew tired of {old_colour} and made the {thing} {+colour} \
| {when} {holder} {old_colour}.by tired become.did, and {thing}.it {colour} make.did
"""
    ),
    "grow": (
        """
2 | {+when} {+more} more {animal} followed {hero} home, which made {count} \
| {when} {animal} {more} more {hero}.by home.to walk.did, now {count} be.did
1 | {+when} {hero} bought {+more} more {animal}, so that there were {count} \
| {when} {hero} {animal}.it {more} more buy.did, so {count} be.did
"""
    ),
    "shrink": (
        """
2 | {+when} {+fewer} of the {animal} ran away, which left {count} | {when} {animal}.by {fewer} run.did, now {count} stay.did
1 | {+when} {hero} sold {+fewer} of the {animal} and kept {count} | {when} {hero} {animal}.by {fewer}.it sell.did, and {count}.it keep.did
"""
    ),
    "barter": (
        """
1 | {+when} {giver} swapped the {thing} for the {trinket} of {taker}, who put it {+place} \
| {when} {giver} {taker}.of {trinket}.to {thing}.it swap.did, and this {place} put.did
1 | {+when} {taker} offered the {trinket} for the {thing}, {giver} agreed, and the {thing} was soon {+place} \
| {when} {taker} {thing}.to {trinket}.it offer.did, {giver} agree.did, and {thing} soon {place} be.did
"""
    ),
    "slip": (
        """
2 | {+when} {passer} slipped the {trinket} to {+receiver} without a word | {when} {passer} word.by {receiver}.to {trinket}.it pass.did
1 | {+when} {+receiver} did {passer} a favour and was given the {trinket} | {when} {receiver} {passer}.to favour.it do.did, and {trinket}.it get.did
"""
    ),
    "bet": (
        """
2 | {+when} {+better} bet {+rival} {+stake} that {+event} | {when} {better} {rival}.by {stake}.it bet.did, that {event}
1 | {+when} {+rival} laughed at {+better}, who had bet {+stake} that {+event} \
| {when} {rival} {better}.to laugh.did, who {stake}.it bet.did, that {event}
"""
    ),
    "gossip": (
        """
2 | {+when} {+guest} talked about {+topic} for an hour | {when} {guest} {topic}.of hour.it speak.did
1 | {+when} nobody could stop {+guest} on the subject of {+topic} | {when} nobody {guest}.it {topic}.by stop.did
"""
    ),
    "settle": (
        """
2 | {+winner} won the bet, so {loser} handed over {stake} | {winner} bet.it win.did, so {loser} {stake}.it give.did
1 | The bet cost {loser} {stake}, and {+winner} was unbearable about it | bet {loser}.by {stake}.it take.did, and {winner} bad become.did
"""
    ),
    "whereabouts": (
        """
2 | In the end the {colour} {thing} was {place}, and it belonged to {holder} | at-last {thing} {colour} {place} be.did, and {holder}.of be.did
2 | {holder} had the {colour} {thing} now, safe {place} | {holder} {thing} {colour}.it now have.did, {place} safe
1 | To this day the {thing} of {holder} stands {place}, as {colour} as ever | today {holder}.of {thing} {place} stand.does, always {colour}
"""
    ),
    "pocket": (
        """
2 | {keeper} went about with the {trinket} | {keeper} {trinket}.by walk.did
1 | The {trinket} stayed with {keeper} | {trinket} {keeper}.in stay.did
"""
    ),
    "headcount": (
        """
2 | {hero} counted the {animal} and got {count} | {hero} {animal}.it count.did, and {count}.it get.did
1 | The {count} {animal} had no opinion | {animal} {count} nothing.it think.did
"""
    ),
    "again": (
        """
2 | And because {hero} was {mood}, {hero.she} {habit} | and {hero} {mood} be.when {habit}
1 | {hero} came home {mood} and {habit}, as always | {hero} {mood} home.to come.did, and always {habit}
1 | Then {hero} {habit}, for {hero.she} was {mood} again | then {hero} {habit}, because {mood} be.did
"""
    ),
    "closing": (
        """
2 | So ends the tale of {hero} and {friend} in the year of the {omen} | so {hero}.of and {friend}.of tale {omen}.of year.in end.does
1 | So ends the story of the {trade} of {village} in the year of the {omen} | so {village}.of {trade}.of tale {omen}.of year.in end.does
1 | So ends all that {third} remembers of the year of the {omen} | so {third}.of memory {omen}.of year.by end.does
"""
    ),
}

_SLOT = re.compile(r"\{(\+?)(\w+)(?:\.(\w+))?\}")


@dataclass(frozen=True)
class Slot:
    """A place in a sentence: what stands there, as which pronoun (or ""), and whether it is drawn
    there.
    """

    name: str
    pronoun: str = ""
    drawn: bool = False


Parts = tuple[str | Slot, ...]


@dataclass(frozen=True, eq=False)
class Wording:
    """One way to say a kind of sentence. `name` is the kind and a number; `draws` are the slots it
    draws, in the order of the English.
    """

    name: str
    kind: str
    weight: int
    english: Parts
    murrel: Parts
    draws: tuple[str, ...]

    def parts(self, language: Language) -> Parts:
        """Its literals and slots in a language."""
        return self.english if language == "english" else self.murrel


def _parts(template: str) -> Parts:
    """A template's literals and slots, in order; none of the literals is empty."""
    found: list[str | Slot] = []
    at = 0
    for match in _SLOT.finditer(template):
        found += [template[at : match.start()], Slot(match[2], match[3] or "", bool(match[1]))]
        at = match.end()
    return tuple(part for part in (*found, template[at:]) if part)


def _parse_wording(kind: str, number: int, line: str) -> Wording:
    weight, english, gloss = (part.strip() for part in line.split("|"))
    parts = _parts(english)
    draws = tuple(part.name for part in parts if isinstance(part, Slot) and part.drawn)
    return Wording(f"{kind}.{number}", kind, int(weight), parts, _parts(murrel(gloss)), draws)


WORDINGS = {
    kind: tuple(_parse_wording(kind, n, line) for n, line in enumerate(lines.strip().splitlines()))
    for kind, lines in _SENTENCES.items()
}
