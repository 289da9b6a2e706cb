"""The memory: the only room that knows SQLAlchemy."""

from mss.store.store import Store, Uow

__all__ = ["Store", "Uow"]
