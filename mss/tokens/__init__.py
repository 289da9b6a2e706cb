"""Signed tokens that an OpenID provider gives to our users, and what SASL wraps around them.

It knows no account and no store: `mss.signin` asks here whose token it is, and finds the account itself.
"""
