"""The only list of languages: the 50 of XTREME-R and others, with family, script, aliases.

Languages: Ruder et al. 2021, arXiv:2104.07412. Family and genus: WALS Online, wals.info, in the
names of its 2013 edition. Script: the main one, in the words of ISO 15924. Resource class: the
taxonomy of Joshi et al. 2020, arXiv:2004.09095 (``lang2tax.txt``), by the data found for each:
classes 4 and 5 are "high", 3 is "mid", 0 to 2 are "low".
"""

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """One language.

    Attributes:
        code: What tasks are named by: ISO 639-1 as XTREME-R writes it (``jv``, ``tl``).
        name: English name.
        family: Top-level family, WALS.
        genus: Genus, WALS.
        script: Main script.
        joshi_class: 0 (left behind) to 5 (winners) of Joshi et al. 2020.
        aliases: Other codings: ISO 639-3, FLORES-200, BCP 47, old ISO 639-1.
    """

    code: str
    name: str
    family: str
    genus: str
    script: str
    joshi_class: int
    aliases: tuple[str, ...]

    @property
    def resource(self) -> str:
        """``"high"``, ``"mid"`` or ``"low"`` by ``joshi_class``."""
        return {5: "high", 4: "high", 3: "mid"}.get(self.joshi_class, "low")


# Joshi's list has Malay once (3), "haitian" (2) beside "haitian creole" (0), "eastern punjabi" (2).
_XTREME_R_TABLE = """
af|Afrikaans  |Indo-European|Germanic          |Latin     |3|afr afr_Latn
ar|Arabic     |Afro-Asiatic |Semitic           |Arabic    |5|ara arb arb_Arab ar_Arab
az|Azerbaijani|Altaic       |Turkic            |Latin     |1|aze azj azj_Latn az_Latn
bg|Bulgarian  |Indo-European|Slavic            |Cyrillic  |3|bul bul_Cyrl
bn|Bengali    |Indo-European|Indic             |Bengali   |3|ben ben_Beng
de|German     |Indo-European|Germanic          |Latin     |5|deu ger deu_Latn
el|Greek      |Indo-European|Greek             |Greek     |3|ell gre ell_Grek
en|English    |Indo-European|Germanic          |Latin     |5|eng eng_Latn
es|Spanish    |Indo-European|Romance           |Latin     |5|spa spa_Latn
et|Estonian   |Uralic       |Finnic            |Latin     |3|est ekk est_Latn ekk_Latn
eu|Basque     |Basque       |Basque            |Latin     |4|eus baq eus_Latn
fa|Persian    |Indo-European|Iranian           |Arabic    |4|fas per pes pes_Arab
fi|Finnish    |Uralic       |Finnic            |Latin     |4|fin fin_Latn
fr|French     |Indo-European|Romance           |Latin     |5|fra fre fra_Latn
gu|Gujarati   |Indo-European|Indic             |Gujarati  |1|guj guj_Gujr
he|Hebrew     |Afro-Asiatic |Semitic           |Hebrew    |3|iw heb heb_Hebr
hi|Hindi      |Indo-European|Indic             |Devanagari|4|hin hin_Deva
ht|Haitian Creole|other        |Creoles and Pidgins|Latin     |2|hat hat_Latn
hu|Hungarian  |Uralic       |Ugric             |Latin     |4|hun hun_Latn
id|Indonesian |Austronesian |Malayo-Sumbawan   |Latin     |3|in ind ind_Latn
it|Italian    |Indo-European|Romance           |Latin     |4|ita ita_Latn
ja|Japanese   |Japanese     |Japanese          |Japanese  |5|jpn jpn_Jpan
jv|Javanese   |Austronesian |Javanese          |Latin     |1|jw jav jav_Latn
ka|Georgian   |Kartvelian   |Kartvelian        |Georgian  |3|kat geo kat_Geor
kk|Kazakh     |Altaic       |Turkic            |Cyrillic  |3|kaz kaz_Cyrl
ko|Korean     |Korean       |Korean            |Hangul    |4|kor kor_Hang
lt|Lithuanian |Indo-European|Baltic            |Latin     |3|lit lit_Latn
ml|Malayalam  |Dravidian    |Southern Dravidian|Malayalam |1|mal mal_Mlym
mr|Marathi    |Indo-European|Indic             |Devanagari|2|mar mar_Deva
ms|Malay      |Austronesian |Malayo-Sumbawan   |Latin     |3|msa may zsm zsm_Latn
my|Burmese    |Sino-Tibetan |Burmese-Lolo      |Myanmar   |1|mya bur mya_Mymr
nl|Dutch      |Indo-European|Germanic          |Latin     |4|nld dut nld_Latn
pa|Punjabi    |Indo-European|Indic             |Gurmukhi  |2|pan pan_Guru pa_Guru
pl|Polish     |Indo-European|Slavic            |Latin     |4|pol pol_Latn
pt|Portuguese |Indo-European|Romance           |Latin     |4|por por_Latn pt_BR
qu|Quechua    |Quechuan     |Quechuan          |Latin     |1|que quz quy quy_Latn quz_Latn
ro|Romanian   |Indo-European|Romance           |Latin     |3|ron rum ron_Latn
ru|Russian    |Indo-European|Slavic            |Cyrillic  |4|rus rus_Cyrl
sw|Swahili    |Niger-Congo  |Bantoid           |Latin     |2|swa swh swh_Latn swa_Latn
ta|Tamil      |Dravidian    |Southern Dravidian|Tamil     |3|tam tam_Taml
te|Telugu     |Dravidian    |South-Central Dravidian|Telugu    |1|tel tel_Telu
th|Thai       |Tai-Kadai    |Kam-Tai           |Thai      |3|tha tha_Thai
tl|Tagalog    |Austronesian |Greater Central Philippine|Latin     |3|fil tgl tgl_Latn fil_Latn
tr|Turkish    |Altaic       |Turkic            |Latin     |4|tur tur_Latn
uk|Ukrainian  |Indo-European|Slavic            |Cyrillic  |3|ukr ukr_Cyrl
ur|Urdu       |Indo-European|Indic             |Arabic    |3|urd urd_Arab
vi|Vietnamese |Austro-Asiatic|Viet-Muong        |Latin     |4|vie vie_Latn
wo|Wolof      |Niger-Congo  |Northern Atlantic |Latin     |2|wol wol_Latn
yo|Yoruba     |Niger-Congo  |Defoid            |Latin     |2|yor yor_Latn
zh|Chinese    |Sino-Tibetan |Chinese           |Han       |5|zho cmn zho_Hans cmn_Hans zh_Hans zh_CN
"""
# Languages of other benchmarks.
_TABLE = """
am |Amharic   |Afro-Asiatic |Semitic           |Ethiopic  |2|amh amh_Ethi
bm |Bambara   |Niger-Congo  |Western Mande     |Latin     |1|bam bam_Latn
ceb|Cebuano   |Austronesian |Greater Central Philippine|Latin     |3|ceb_Latn
da |Danish    |Indo-European|Germanic          |Latin     |3|dan dan_Latn
ee |Ewe       |Niger-Congo  |Kwa               |Latin     |1|ewe ewe_Latn
fon|Fon       |Niger-Congo  |Kwa               |Latin     |0|fon_Latn
ha |Hausa     |Afro-Asiatic |West Chadic       |Latin     |2|hau hau_Latn
hr |Croatian  |Indo-European|Slavic            |Latin     |4|hrv hrv_Latn
ig |Igbo      |Niger-Congo  |Igboid            |Latin     |1|ibo ibo_Latn
lg |Luganda   |Niger-Congo  |Bantoid           |Latin     |1|lug lug_Latn
mos|Mossi     |Niger-Congo  |Gur               |Latin     |0|mos_Latn
ny |Chichewa  |Niger-Congo  |Bantoid           |Latin     |1|nya nya_Latn
pcm|Nigerian Pidgin|other        |Creoles and Pidgins|Latin     |0|pcm_Latn
rw |Kinyarwanda|Niger-Congo  |Bantoid           |Latin     |1|kin kin_Latn
sk |Slovak    |Indo-European|Slavic            |Latin     |3|slk slo slk_Latn
sn |Shona     |Niger-Congo  |Bantoid           |Latin     |1|sna sna_Latn
sr |Serbian   |Indo-European|Slavic            |Cyrillic  |4|srp srp_Cyrl
sv |Swedish   |Indo-European|Germanic          |Latin     |4|swe swe_Latn
tn |Tswana    |Niger-Congo  |Bantoid           |Latin     |2|tsn tsn_Latn
ts |Tsonga    |Niger-Congo  |Bantoid           |Latin     |1|tso tso_Latn
tw |Twi       |Niger-Congo  |Kwa               |Latin     |1|twi twi_Latn
xh |Xhosa     |Niger-Congo  |Bantoid           |Latin     |2|xho xho_Latn
zu |Zulu      |Niger-Congo  |Bantoid           |Latin     |2|zul zul_Latn
"""


def _parse(table: str) -> dict[str, Language]:
    languages = {}
    for line in table.strip().splitlines():
        code, name, family, genus, script, joshi_class, aliases = map(str.strip, line.split("|"))
        languages[code] = Language(
            code, name, family, genus, script, int(joshi_class), tuple(aliases.split())
        )
    return languages


# The 50 of Ruder et al. 2021, arXiv:2104.07412.
XTREME_R: tuple[str, ...] = tuple(sorted(_parse(_XTREME_R_TABLE)))
LANGUAGES: dict[str, Language] = dict(sorted(_parse(_XTREME_R_TABLE + _TABLE.lstrip()).items()))


def _key(code: str) -> str:
    return re.sub("[-_ ]", "_", code.strip()).lower()


_BY_KEY: dict[str, Language] = {}
for _language in LANGUAGES.values():
    for _name in (_language.code, *_language.aliases):
        if _key(_name) in _BY_KEY:
            raise ValueError(
                f"{_name!r} names both {_BY_KEY[_key(_name)].code} and {_language.code}."
            )
        _BY_KEY[_key(_name)] = _language


def get(code: str) -> Language:
    """The language with this code or alias; case and ``-`` against ``_`` do not matter.

    Raises:
        ValueError: Unknown; the message has the near codes and names.
    """
    if _key(code) in _BY_KEY:
        return _BY_KEY[_key(code)]
    names = {language.name.lower(): language.code for language in LANGUAGES.values()}
    close = difflib.get_close_matches(_key(code), [*_BY_KEY, *names], n=3, cutoff=0.6)
    codes = dict.fromkeys(names[c] if c in names else _BY_KEY[c].code for c in close)
    hint = "; did you mean " + " or ".join(f"{c!r} ({LANGUAGES[c].name})" for c in codes) + "?"
    raise ValueError(
        f"Unknown language {code!r}{hint if codes else ''}. Known: {' '.join(sorted(LANGUAGES))} "
        "and their aliases. Add a row to xlt_jax/registry/languages.py."
    )


Criterion = str | Collection[str] | None


def select(
    *,
    family: Criterion = None,
    genus: Criterion = None,
    script: Criterion = None,
    resource: Criterion = None,
    exclude: str | Collection[str] = (),
) -> tuple[str, ...]:
    """Sorted codes of the languages that meet every criterion; each is a value or several.

    Args:
        family: For example ``"Uralic"``.
        genus: For example ``("Germanic", "Romance")``.
        script: For example ``"Cyrillic"``.
        resource: ``"high"``, ``"mid"`` or ``"low"``.
        exclude: Codes or aliases to leave out.

    Raises:
        ValueError: A value that no language has; the message has the allowed ones.
    """
    excluded = {get(code).code for code in ([exclude] if isinstance(exclude, str) else exclude)}
    chosen = [language for code, language in LANGUAGES.items() if code not in excluded]
    criteria = {"family": family, "genus": genus, "script": script, "resource": resource}
    for field, wanted in criteria.items():
        if wanted is None:
            continue
        values = {wanted} if isinstance(wanted, str) else set(wanted)
        allowed = sorted({getattr(language, field) for language in LANGUAGES.values()})
        if unknown := sorted(values - set(allowed)):
            raise ValueError(f"No language has {field} {unknown}; allowed: {', '.join(allowed)}.")
        chosen = [language for language in chosen if getattr(language, field) in values]
    return tuple(sorted(language.code for language in chosen))
