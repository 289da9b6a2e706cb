"""The verbs: plain synchronous functions `(uow, values…, now) -> value`, each one unit of work.

They know the store's rooms (`uow.…`) and the pure floors, nothing of the engine, the network or a door.
"""
