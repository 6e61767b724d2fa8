"""Outputs and references for the metrics of text: English, German and other scripts, punctuation,
repetition, and next to nothing.
"""

from __future__ import annotations

SENTENCES = [
    ("The cat sat on the mat.", "The cat sat on the mat."),
    ("the cat sat on the mat", "The cat sat on the mat."),
    ("On the mat sat the cat.", "The cat sat on the mat."),
    ("A dog lay under the table.", "The cat sat on the mat."),
    (
        "The harbour master counted eleven boats before noon.",
        "Before noon the harbour master had counted eleven boats.",
    ),
    ("She paid 3.50 euros, not 3,50.", "She paid 3.50 euros and not 3,50."),
    ("It costs $1,299.99 (incl. VAT)!", "It costs $1,299.99 including VAT."),
    ("The 24-year-old won by 0.02 seconds.", "The 24-year-old runner won by just 0.02 seconds."),
    ('"Leave it," he said -- "leave it there."', "'Leave it there,' he said."),
    ("rain rain rain rain rain rain", "There was rain, rain and more rain all week."),
    ("Bread &amp; butter &quot;twice&quot;", 'Bread & butter "twice"'),
    ("x < y > z & w", "x &lt; y &gt; z &amp; w"),
    ("Nobody had told the baker.", "Nobody told the baker anything."),
    (
        "Nobody had told the baker that the mill had burned down in the night.",
        "The mill burned down at night, and nobody told the baker.",
    ),
    ("The the the the the the the.", "The cat is on the mat."),
    ("mat the on sat cat The", "The cat sat on the mat"),
    ("I don't think we've met, have we?", "I do not think that we have met, have we?"),
    ("Well - well-known - and wellknown", "Well, well-known and well known"),
    ("e.g. Mr. Finch, Ph.D., of St. Ives", "for example Mr Finch, PhD, of St Ives"),
    ("http://example.org/a_b?c=d&e=f", "See http://example.org/a_b?c=d for more"),
    (
        "Der Bäcker öffnete um fünf Uhr früh die Tür.",
        "Der Bäcker machte um fünf Uhr morgens die Tür auf.",
    ),
    (
        "Die Straße war naß, und größer als gedacht.",
        "Die Straße war nass und größer als man dachte.",
    ),
    ("Übermorgen fährt kein Zug nach Görlitz.", "Nach Görlitz fährt übermorgen kein Zug."),
    ("Donaudampfschifffahrtsgesellschaft", "Donau-Dampfschifffahrts-Gesellschaft"),
    ("„Komm“, sagte sie, „es wird spät.“", "»Komm«, sagte sie, »es wird schon spät.«"),
    ("Das Haus gehört meiner Tante Käthe.", "Meiner Tante Käthe gehört das Haus."),
    ("Er zahlte 1.234,56 € in bar.", "Er bezahlte 1.234,56 € bar."),
    ("ÄRGER IM ÄMTERHAUS", "Ärger im Ämterhaus"),
    ("Le garçon a mangé la crème brûlée.", "Le garçon mangea toute la crème brûlée."),
    ("L'été dernier, c'était différent.", "C'était différent l'été dernier."),
    ("¿Dónde está el niño?", "¿Dónde se ha metido el niño?"),
    ("Zażółć gęślą jaźń", "Zażółć tę gęślą jaźń"),
    ("Съешь ещё этих мягких булок.", "Съешь же ещё этих мягких французских булок."),
    ("Η γάτα κάθισε στο χαλί.", "Η γάτα κάθεται στο χαλί."),
    ("猫坐在垫子上。", "那只猫坐在垫子上。"),
    ("猫がマットの上に座った。", "猫はマットの上に座っていた。"),
    ("고양이가 매트 위에 앉았다.", "매트 위에 고양이가 앉았다."),
    ("القطة جلست على السجادة", "جلست القطة على السجادة"),
    ("नमस्ते दुनिया", "नमस्ते, दुनिया!"),
    ("🐱 sat on the 🧶", "🐱 slept on the 🧶"),
    ("cafe\u0301 society", "café society"),
    ("wide\u00a0space and thin\u2009space", "wide space and thin space"),
    ("tab\tseparated\twords", "tab separated words"),
    ("  leading and trailing  ", "leading and trailing"),
    ("zero\u200bwidth", "zero width"),
    ("a broken \ufffd character", "a broken character"),
    ("...", "..."),
    ("?!?!", "What?!"),
    (".", "Full stop."),
    (", , , .", ", ."),
    ("—", "A dash — alone"),
    ("", "Something was expected here."),
    ("   ", "White space was said instead of this."),
    ("\t \u00a0", "Even stranger white space."),
    ("Something was said where nothing was expected.", ""),
    ("", ""),
    ("yes", "no"),
    ("yes", "yes"),
    ("42", "42"),
    ("one two three", "one two three four five six seven eight nine ten"),
    ("one two three four five six seven eight nine ten", "one two three"),
    (
        "The boat that the man who the fox knew built sank.",
        "The boat sank that the man built who knew the fox.",
    ),
    (
        (
            "On Tuesday the committee agreed that the bridge would be closed for repairs, but on"
            " Friday it changed its mind again."
        ),
        (
            "The committee agreed on Tuesday to close the bridge for repairs but changed its mind"
            " again on Friday."
        ),
    ),
    ("a b c d e f g h " * 6, "h g f e d c b a " * 6),
]
