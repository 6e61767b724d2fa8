"""Murrel, a language that exists only here: its lexicon, its suffixes, and how a gloss is spelt.

A gloss is Murrel by lemmas: each token is an English lemma, looked up in LEXICON, and the suffixes
that follow it after dots. Murrel has no articles, no genders and no capitals of its own; its verb
comes last and its adjectives follow the noun.
"""

from __future__ import annotations

import re

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
accordion gugos, agree gavalt, all shauv, alphabet monim, always hirn, and reng, apology dragurn,
argue gardem, around zaudol, ask skinand, at-last virm, attic haulak, aunt kilok, bad dregad,
baker briskind, balcony daunod, barrel brenur, basket thumir, bathtub fibud, be theit, bean vlebad,
because toshk, become krumud, bed naumad, bee beinend, belfry vaumen, bell jeirelt, bet daskom,
bicycle heimid, big shutek, binder skenin, bird dugalt, bishop tillelt, black joran, blue gallos,
boil saruk, bone keskurn, book skilod, bored driskas, borrow krudom, borrowed vitul, bow vlallus,
brass leben, bread bordosh, bridge fokund, broken theizir, brown reidol, bucket meigal, but jeid,
butter drauvod, button tokan, buy pimpid, cabbage drullern, cage sulat, candle gekor, card krauburn,
carp peizot, carrier skellom, carry draskok, cellar povas, cello zibin, chair geiresh,
cheap dreidal, cheat teimpot, cheese karded, chimney reidav, cider meiskik, clean skuskis,
clock veimal, cloud brardet, coach higash, coal gekind, cobbler kragir, colour viron, come vautelt,
cooper skeiskun, corkscrew thallirn, cough skaudond, count rokor, cousin bozum, crimson tokut,
cross breilluv, crow gompul, curtain thiril, dawn draulond, day brolon, death baudol, decline vemis,
dentist nuzind, digger matish, do faubur, donkey banek, door nillar, doorstep gaugos, dream leibash,
drum vloskam, dry seinam, duck vlikar, eat giguv, eclipse dagut, egg zotel, eight nok, eleven dedem,
empty naurol, end holud, every sim, everybody seizan, fair shemid, fall brulos, far rugom,
favour luskalt, feed rozud, find bukod, fish bozid, five hosk, flood shovid, floor saumpem,
flute raskas, foot selarn, four kirt, freeze pilorn, friend zurish, frost dorek, game heidish,
get thaskol, give ruzilt, glass vavol, glazier kokend, globe drauziv, goat skaurdalt, good daudind,
goose hunol, grave bidel, gravel vlillilt, green daunok, grey litult, half nauzad, ham faudes,
harvest mauzam, hat krevit, have lask, hedge rauked, hen daudir, heron paunum, herring keskul,
hide jullarn, history bruzed, hole sellund, home zezat, hook juresh, hour lidir, hungry skavel,
hymn thutum, jar hakuv, keep hirdet, keeper kempem, kettle baurdosh, key rirol, knit ribul,
knob teitond, know kerdon, ladder naurdom, lantern tadon, late nevul, laugh drullult, leave naband,
letter pezel, lie veirdam, live vlozan, lock nimpid, long deskuk, lose vaskev, lost skivelt,
love skenend, lunch begul, machine shazon, make daskar, maker givet, many drilt, marble drudin,
market polled, mayor raugand, memory krillal, mirror hevud, money firarn, moon zimpelt, more krault,
morning teikun, moth vleitim, mustard shallas, navy pobov, night vlezod, nine lik, nobody zeiras,
nothing kik, now pek, nutmeg skardosh, offer kralliv, often bakud, one lut, onion zelur, only tes,
other deir, own beirdek, paint thimpol, pantry dillik, pass shuvush, pencil krauzid, piano serdal,
pig nelid, pink shavus, play kramat, pleased vlokuv, plum brilon, pocket sezer, polish thukam,
pot limpand, price vlaman, pride fimot, priest favev, public druskot, purple raukok, put tezus,
puzzled deril, rabbit sulir, raw reillat, recite zilon, red hobelt, river thubak, rocking dreirem,
roof seillol, room fabon, rope vaskesh, rule baurdus, run haurim, saddle thekiv, safe beiturn,
salt paurond, salute nivud, sea nirar, see vlerak, sell dreimish, seller rutum, seven furn,
shape skarush, sharpen hegosh, shed hardim, shirt bridir, short mokurn, show figan, sick vidur,
silence lovush, silent nizid, silver zobin, six draund, small vlekad, snail theiskun, sneeze fimorn,
snow mobol, so beis, sock nuskish, soon broban, soul joris, soup fedud, speak drompil,
spoon skeizin, spot nardus, stable vlagolt, stairs kremin, stand purilt, stay baukol, stool pagar,
stop madim, storm teidak, stove dakud, strange krauzav, stranger haunot, stub nauvev,
suitcase jorder, summer theikirn, sunday jordut, sundial sovir, swallow tilat, swap veilul,
sweep nardet, sweeper tidun, take brorum, tale shaudes, talker biller, tax vagim, tea theinalt,
ten fut, thanks lulin, that fand, thatcher thagen, then rarn, thimble dazush, think breval,
third mivol, this gaurl, three zind, ticket huros, tin zallon, tired jerdern, today zodern,
too jeit, tooth turdov, train meidil, trouble shozov, trumpet pulosh, tuesday himik, tuner bruvel,
turnip braret, twelve vlaurem, two vlim, umbrella skolesh, walk brukid, watch peirav, way loban,
weather shaumpult, weathercock haukesh, week gizul, well tomom, wheelbarrow faunilt, whistle reilot,
white demen, who faurn, win brolos, wind hibut, windowsill kaunus, wooden dreskand, wool krulon,
word krorolt, worried juvurn, write lordas, yard filik, year guvol, yellow haugok
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
