"""The whole adoption on temporary files: a stock Kamailio, a database of kamdbctl, and phones that keep refreshing."""
