"""What every store must do, whichever database is behind it: base classes for one test class per database."""

from tests.contract.part_contract import LetterContract, PartContract
from tests.contract.race_contract import RaceContract
from tests.contract.result_contract import ResultContract
from tests.contract.run_contract import QueueContract, RunContract
from tests.contract.run_lists_contract import RunListContract


class JobContract(RunContract, QueueContract, RunListContract, PartContract, LetterContract):
    """Everything that regular jobs need."""


class StoreContract(ResultContract, JobContract, RaceContract):
    """Everything a store must do; a test class per database gives the `store` fixture."""
