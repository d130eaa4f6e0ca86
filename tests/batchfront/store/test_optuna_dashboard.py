"""Notes and figures as we write them are what the Optuna dashboard's own functions read."""

import optuna
import pytest
from optuna_dashboard import get_note
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects

from batchfront.store.database import Storage
from batchfront.store.optuna_dashboard import (
    figure_attributes,
    figure_prefix,
    note_attributes,
    without_figure,
)
from batchfront.store.optuna_tables import create_study, replace_settings

TEXTS = ["short", "é" * 2045, "x" * 2046, "0123456789" * 2000]


def loaded(database: str) -> optuna.Study:
    return optuna.load_study(study_name="s", storage=database)


@pytest.mark.parametrize("text", TEXTS, ids=len)
def test_a_note_is_read_back(storage: Storage, database: str, text: str) -> None:
    with storage.write() as conn:
        create_study(conn, "s", {"a": 1}, note_attributes(text), taken=())
    assert get_note(loaded(database)) == text


@pytest.mark.parametrize("text", TEXTS, ids=len)
def test_a_figure_is_read_back(storage: Storage, database: str, text: str) -> None:
    with storage.write() as conn:
        create_study(conn, "s", {"a": 1}, figure_attributes("the-figure", text), taken=())
    study = loaded(database)
    assert get_plotly_graph_objects(study._storage.get_study_system_attrs(1)) == {
        "the-figure": text
    }


@pytest.mark.every_storage
def test_a_shorter_figure_leaves_nothing_of_the_longer_and_others_stay(
    storage: Storage, database: str
) -> None:
    with storage.write() as conn:
        others = {**figure_attributes("the_figure", "b"), **note_attributes("note")}
        study = create_study(conn, "s", {"a": 1}, others, taken=())
        for text in ("0123456789" * 2000, "short"):
            attributes = figure_attributes("the-figure", text)
            replace_settings(conn, study, figure_prefix("the-figure"), attributes)
    read = loaded(database)
    attributes = read._storage.get_study_system_attrs(read._study_id)
    assert get_plotly_graph_objects(attributes) == {"the-figure": "short", "the_figure": "b"}
    assert get_note(read) == "note"


def test_one_figure_can_be_left_out() -> None:
    both = {**figure_attributes("a", "1"), **figure_attributes("a-b", "2")}
    assert without_figure(both, "a") == figure_attributes("a-b", "2")
