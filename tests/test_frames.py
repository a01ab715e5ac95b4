"""What a frame is, of whatever library."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fastmlp.frames import column_names, is_frame, text_names

DATA = {"column_names": [1, 2], "b": ["x", "y"]}  # one column is called as what pyarrow has


@pytest.mark.parametrize("frame", [pd.DataFrame(DATA), pl.DataFrame(DATA), pa.table(DATA)])
def test_frames(frame):
    assert is_frame(frame)
    assert column_names(frame) == text_names(frame) == [*DATA]


def test_what_has_no_names_of_text():
    numbered = pd.DataFrame(np.zeros((2, 2)))
    assert column_names(numbered) == [0, 1]
    for values in (numbered, pd.DataFrame(index=[0]), pd.Series([1]), np.zeros((2, 2)), [[1]]):
        assert text_names(values) is None
