"""How much text of each language mT5 was pre-trained on.

Billions of tokens in mC4, Xue et al. 2021, arXiv:2010.11934, table of appendix A.2; read in a
secondary source, github.com/mayhewsw/multilingual-data-stats, mc4/mc4.csv (commit 36e6dc3). The
texts in Latin letters of languages that are written otherwise ("hi-Latn") are left out.
"""

# Codes of registry/languages.py where the language is there (iw is he, fil is tl), else mC4's.
_TABLE = """
en 2733  ru 713   es 433   de 347   fr 318   ja 164   it 162   pt 146   pl 130   vi 116   nl 73
tr 71    id 69    cs 63    ar 57    fa 52    ro 52    sv 45    el 43    uk 41    zh 39    hu 39
da 29    no 27    ko 26    fi 25    hi 24    bg 22    sk 18    he 17    mr 14    ca 13    ms 13
th 11    lt 11    sl 8.8   bn 7.3   lv 7     et 6.9   mt 5.2   cy 4.9   az 4.4   sr 4.3   sq 4
ta 3.4   ne 3.2   kk 3.1   ml 2.7   is 2.6   ka 2.5   gl 2.4   hy 2.4   ur 2.4   tl 2.1   be 2
mk 1.8   mn 1.8   af 1.7   sd 1.6   eu 1.4   tg 1.4   so 1.4   la 1.3   te 1.3   kn 1.1   lb 1
ky 1     sw 1     my 0.9   uz 0.9   gu 0.8   si 0.8   eo 0.7   km 0.6   pa 0.6   ga 0.5   fy 0.4
ps 0.4   gd 0.4   ku 0.4   jv 0.3   am 0.3   yi 0.3   zu 0.2   co 0.2   ceb 0.2  mg 0.2   sn 0.2
hmn 0.2  ht 0.2   ha 0.2   su 0.1   ny 0.1   lo 0.1   mi 0.1   sm 0.09  ig 0.09  haw 0.09 st 0.08
xh 0.06  yo 0.05
"""
_WORDS = _TABLE.split()

# Billions of tokens by language; one that is not here was not in mT5's pre-training.
TOKENS_B: dict[str, float] = dict(sorted(zip(_WORDS[::2], map(float, _WORDS[1::2]))))
LANGUAGES = frozenset(TOKENS_B)
