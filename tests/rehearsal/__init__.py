"""The whole adoption on throw-away files: a stock Kamailio, a database of kamdbctl, phones that refresh all along."""
