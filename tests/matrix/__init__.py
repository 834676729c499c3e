"""Both commands of the README on a fresh root of another Debian release, as a new user runs them."""
