"""The embedded benchmark: small copies of each XTREME-R task, built from Unicode CLDR by Babel."""
