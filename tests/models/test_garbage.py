import gc
from contextlib import suppress

from diffumask_datasets.models.garbage import collection_paused


def test_collection_pauses_and_goes_on() -> None:
    assert gc.isenabled()
    with suppress(KeyError), collection_paused():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


def test_who_has_disabled_it_keeps_it_disabled() -> None:
    gc.disable()
    try:
        with collection_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
