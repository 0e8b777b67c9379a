"""Target tasks of XTREME-R (Ruder et al. 2021, arXiv:2104.07412)."""
