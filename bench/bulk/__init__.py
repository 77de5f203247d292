"""Bulk runners on one limited provider: how near the best possible time, how many 429s, what is lost and paid twice."""
