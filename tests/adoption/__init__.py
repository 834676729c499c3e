"""A stock proxy with its phones, before and after the README's steps 2 and 3: what differs, and what may."""
