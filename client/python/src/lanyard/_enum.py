"""Enums of the contract, as Python knows enums."""

from enum import IntEnum
from typing import Any


class ContractEnum(IntEnum):
    """An enum of the contract. Numbers that this client does not know are `UNSPECIFIED`: a newer server may have more."""

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return cls(0) if isinstance(value, int) and value != 0 else None
