"""The memory: the only room that knows SQLAlchemy."""

from mss.store.store import Store, Subscription, Uow

__all__ = ["Store", "Subscription", "Uow"]
