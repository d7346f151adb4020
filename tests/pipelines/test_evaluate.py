"""Benchmarks of every kind, from their files through cataloging and evaluation to the table."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from tests.protocols.ijb_trees import write_tree
from tests.protocols.tinyface_trees import write_tinyface

from lafs_pipeline.datasets.partitions_dataset import PartitionsDataset
from lafs_pipeline.datasets.read_only_dataset import EmbeddingsDataset
from lafs_pipeline.faces.decode import encode_jpeg
from lafs_pipeline.interop.model_files import save_model
from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.models.provenance import Provenance
from lafs_pipeline.pipelines import cataloging, evaluate
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.synthetic.faces import draw_face

SIZES = {
    "num_landmarks": 49,
    "patch_size": 16,
    "depth": 1,
    "dim": 32,
    "heads": 2,
    "head_dim": 16,
    "mlp_dim": 32,
    "landmark_width": 0.25,
}
NAMES = ("stage1", "scratch", "lafs")
HELD_OUT = {"held": {"kind": "held_out", "source": "drawn", "identities": 4, "pairs": 8, "folds": 2}}
DRAWN = {"drawn": {"kind": "synthetic", "identities": 6, "images_per_identity": 2}}
EVALUATE = {"batch_size": 64, "workers": 0, "resamples": 50}


def small_model(seed: int) -> torch.nn.Module:
    """The first comes from nowhere, the last from a backbone that is not there any more."""
    torch.manual_seed(seed)
    model = build_model("part_fvit_tiny_patch8_112", SIZES).eval()
    if seed:
        model.provenance = Provenance(training=str(seed) * 64, start="a" * 64, run=f"run{seed}")
    return model


class Pixels(torch.nn.Module):
    """Embeds a face as its pixels, coarsely: of any length, and quick."""

    def forward(self, images):
        return torch.nn.functional.avg_pool2d(images, 14).flatten(1)


def pixels(_: int) -> torch.nn.Module:
    return Pixels()


def run(
    folder,
    benchmarks,
    sources=None,
    exclude_overlap="images",
    model=pixels,
    backbones=None,
    names=NAMES,
    **changes,
):
    """Run both pipelines; returns what evaluation leaves."""
    settings = {"sources": sources or {}, "benchmarks": benchmarks, "exclude_overlap": exclude_overlap}
    parameters = {
        "cataloging": settings | {"threads": 1},
        "evaluate": EVALUATE | changes,
        "launch": {"processes": 1},
        "seed": 0,
        "export": {},
        "paths.checkpoints": str(folder / "checkpoints"),
        "paths.stores": str(folder / "stores"),
    }
    pipeline = cataloging.create_pipeline().to_nodes("exclude_overlap") + evaluate.create_pipeline()
    datasets = {f"params:{name}": MemoryDataset(value) for name, value in parameters.items()}
    models = {name: partial(model, number) for number, name in enumerate(names)}
    datasets |= {
        "face_models": MemoryDataset(models, copy_mode="assign"),
        "backbones": MemoryDataset(backbones or {}, copy_mode="assign"),
        "adapt_faces": MemoryDataset(None),
        "embeddings": EmbeddingsDataset(str(folder / "embeddings")),
        "verification": PartitionsDataset(
            path=str(folder / "verification"), dataset="pandas.ParquetDataset", filename_suffix=".parquet"
        ),
    }
    catalog = DataCatalog(datasets | {name: MemoryDataset() for name in pipeline.outputs()})
    SequentialRunner().run(pipeline, catalog)
    return {name: catalog.load(name) for name in ("benchmarks", "roc_plot", "verdict")}


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """One run over an IJB tree, a pair set of ones own with groups, and held-out identities."""
    folder = tmp_path_factory.mktemp("everything")
    tree = write_tree(folder / "IJBC", people=10)
    own = folder / "own"
    own.mkdir()
    for person in range(8):
        for number in range(3):
            encoded = encode_jpeg(draw_face(9, person, number).image)
            (own / f"p{person}_{number}.jpg").write_bytes(encoded)
    rng = np.random.default_rng(0)
    rows = [(p, a, p, b, 1) for p in range(8) for a, b in ((0, 1), (1, 2), (0, 2))]
    rows += [(p, 0, (p + 2 * rng.integers(1, 4)) % 8, 1, 0) for p in range(8) for _ in range(3)]
    lines = [f"p{a}_{i}.jpg,p{b}_{j}.jpg,{same}" for a, i, b, j, same in rows]
    (folder / "pairs.csv").write_text("\n".join(["a,b,is_same", *lines]))
    groups = [f"p{p}_{n}.jpg,{'even' if p % 2 == 0 else 'odd'}" for p in range(8) for n in range(3)]
    (folder / "groups.csv").write_text("\n".join(["key,group", *groups]))
    benchmarks = {
        "ijbc": {"kind": "ijb", "path": str(tree.root)},
        "own": {
            "kind": "pairs_csv",
            "path": str(own),
            "pairs_file": str(folder / "pairs.csv"),
            "groups": str(folder / "groups.csv"),
            "identity_pattern": r"^(p\d+)_",
            "aligned": True,
            "folds": 3,
        },
        "held": {"kind": "held_out", "source": "drawn", "identities": 6, "pairs": 40, "folds": 4},
    }
    sources = {"drawn": {"kind": "synthetic", "identities": 10, "images_per_identity": 6}}
    return run(folder / "data", benchmarks, sources, model=small_model)


@pytest.fixture(scope="module")
def table(everything):
    return everything["benchmarks"]


def test_every_benchmark_and_group_is_in_the_table_of_every_model(table):
    names = {"ijbc", "own", "own/even", "own/odd", "held"}
    assert set(zip(table["model"], table["benchmark"], strict=True)) == {
        (model, name) for model in ("stage1", "scratch", "lafs") for name in names
    }
    assert table["group"].dropna().unique().tolist() == ["even", "odd"]
    assert table["value"].between(0, 1).all()
    assert not table.duplicated(["model", "benchmark", "metric"]).any()


def test_figures_of_each_kind(table):
    metrics = table.groupby("benchmark")["metric"].agg(set).to_dict()
    assert metrics["held"] == {"accuracy", "fold_std", "auc", "eer", "tar_at_far_0.1"}
    assert metrics["own/odd"] == {"accuracy", "fold_std", "auc", "eer", "tar_at_far_0.1"}
    searches = {"rank_1", "rank_5", "tpir_at_fpir_0.1"}
    assert metrics["ijbc"] == {"tar_at_far_0.1", "tar_at_far_0.01"} | searches


def test_every_row_says_how_it_came_about(table):
    facts = table.drop_duplicates(["model", "benchmark"]).set_index("benchmark")
    columns = ["pairs", "folds", "templates", "normalized", "detector_score", "flip", "alignment", "overlap"]
    seen = {name: rows[columns].iloc[0].tolist() for name, rows in facts.groupby(level=0)}
    assert seen["ijbc"] == [200, pd.NA, 30, False, True, True, "arcface-112, given points", 0]
    assert seen["own"] == [48, 3, pd.NA, False, False, True, "arcface-112, as given", 0]
    assert seen["own/even"][:2] == [24, 3]
    assert seen["held"] == [40, 4, pd.NA, False, False, True, "arcface-112, as given", 0]
    assert table.groupby("model")["model_digest"].nunique().tolist() == [1, 1, 1]
    assert table["model_digest"].nunique() == 3
    prints = table.groupby("benchmark")["data_fingerprint"].unique().str[0]
    assert prints["own"] == prints["own/even"]
    assert prints[["own", "ijbc", "held"]].nunique() == 3


def test_every_row_names_the_training_and_its_run(table):
    columns = ["training_digest", "start_digest", "mlflow_run"]
    named = {
        model: set(rows[columns].itertuples(index=False, name=None)) for model, rows in table.groupby("model")
    }
    assert named == {
        "stage1": {("", "", "")},
        "scratch": {("1" * 64, "a" * 64, "run1")},
        "lafs": {("2" * 64, "a" * 64, "run2")},
    }


@pytest.mark.parametrize(
    ("name", "start", "warned"), [("lafs", "a" * 64, 1), ("lafs", None, 0), ("mine", "a", 0)]
)
def test_a_model_that_is_not_made_from_the_backbone_is_named(tmp_path, caplog, name, start, warned):
    backbone = small_model(7)

    def adapted(number):
        model = small_model(number)
        model.provenance = Provenance(training="", start=start or model_digest(backbone), run="")
        return model

    run(tmp_path, HELD_OUT, DRAWN, model=adapted, names=("lafs",), backbones={name: lambda: backbone})
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == warned
    expected = (
        "face_models/lafs was adapted from a backbone (aaaaaaaaaaaa) that is not backbones/lafs as it is"
    )
    assert not warned or said[0].startswith(f"{expected} now ({model_digest(backbone)[:12]}")


def test_backbones_are_rows_as_they_are_and_what_was_adapted_is_compared(tmp_path):
    backbones = {name: partial(pixels, 0) for name in ("scratch", "lafs")}
    found = run(tmp_path, HELD_OUT, DRAWN, names=("lafs", "scratch"), backbones=backbones)
    rows = ["scratch", "lafs", "scratch_frozen", "lafs_frozen"]
    assert found["benchmarks"]["model"].unique().tolist() == rows
    assert found["verdict"].startswith("LAFS ")
    assert "no difference can be told, +0.0 points [+0.0, +0.0]" in found["verdict"]
    frozen = run(tmp_path / "frozen", HELD_OUT, DRAWN, names=(), backbones=backbones)
    assert frozen["benchmarks"]["model"].unique().tolist() == rows[2:]
    assert frozen["verdict"].startswith("LAFS (frozen) ")


def test_the_table_takes_the_models_that_are_there(tmp_path):
    found = run(tmp_path, HELD_OUT, DRAWN, names=("mine", "lafs", "grid"))
    assert found["benchmarks"]["model"].unique().tolist() == ["grid", "lafs", "mine"]
    labels = [text.get_text().split(":")[0] for text in found["roc_plot"].axes[0].get_legend().get_texts()]
    assert labels == ["grid", "LAFS", "mine", "chance"]


def test_models_of_any_kind_stand_beside_those_of_the_run(tmp_path):
    """Nothing is trained: a model from its file, and the same as others feed it."""
    path = tmp_path / "own.safetensors"
    save_model(small_model(0), path)
    models = {"own": str(path), "authors": {"path": str(path), "std": 1.0, "flip": False}}
    table = run(tmp_path, HELD_OUT, DRAWN, names=(), models=models, reference="own")["benchmarks"]
    assert table["model"].unique().tolist() == ["authors", "own"]
    rows = table.drop_duplicates("model").set_index("model")
    assert rows["preprocessing"].to_dict() == {
        "own": "112 px rgb, mean 0.5, std 0.5",
        "authors": "112 px rgb, mean 0.5, std 1",
    }
    assert rows["flip"].to_dict() == {"own": True, "authors": False}
    assert rows["model_digest"].nunique() == 2
    assert (rows[["megabytes", "images_per_second"]] > 0).all(axis=None)
    differing = table[table["reference"] == "own"]
    assert differing["model"].unique().tolist() == ["authors"]
    assert differing["difference"].notna().all()
    trained = run(tmp_path / "trained", HELD_OUT, DRAWN, names=("lafs",), model=lambda _: small_model(0))[
        "benchmarks"
    ]
    own = table[table["model"] == "own"]
    assert own["value"].tolist() == trained["value"].tolist()
    assert own["model_digest"].unique() == trained["model_digest"].unique()


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"mine": "absent.pth"}, r"evaluate\.models\.mine: absent\.pth does not exist"),
        ({"lafs": "a.pth"}, "evaluate: models has the name 'lafs'"),
        ({"a/b": "a.pth"}, "evaluate: models has the name 'a/b'"),
        ({"mine": {"path": "a.pth", "colour": 1}}, r"parameter evaluate\.models\.mine\.colour is unknown"),
        ({"mine": {"path": "a.pth", "std": 0}}, "std is 0.0; expected numbers above 0"),
        (
            {"mine": {"path": "a.pth", "network": "both"}},
            r"parameter evaluate\.models\.mine\.network is 'both'",
        ),
        ({"taken": "a.pth"}, "evaluate.models has taken, as 06_models/face_models; rename one"),
    ],
    ids=str,
)
def test_models_that_cannot_be(tmp_path, models, message):
    with pytest.raises(LafsError, match=message):
        run(tmp_path, HELD_OUT, DRAWN, names=("taken",), models=models)


def test_tinyface_is_searched_and_nothing_else(tmp_path):
    root = write_tinyface(tmp_path / "Testing_Set")
    benchmarks = {"tiny": {"kind": "tinyface", "path": str(root), "pairs_file": str(root), "aligned": True}}
    found = run(tmp_path, benchmarks | HELD_OUT, DRAWN, names=("scratch", "lafs"))
    table = found["benchmarks"]
    tiny = table[table["benchmark"] == "tiny"]
    assert tiny["metric"].unique().tolist() == ["rank_1", "rank_5"]
    assert tiny["value"].between(0, 1).all()
    assert tiny["templates"].unique().tolist() == [15]
    assert [axes.get_title() for axes in found["roc_plot"].axes if axes.get_title()] == ["held"]
    assert "found at rank 1 on tiny" in found["verdict"]


def test_without_face_models_the_table_is_empty_and_says_why(tmp_path, caplog):
    found = run(tmp_path, HELD_OUT, DRAWN, names=())
    assert found["benchmarks"].empty
    assert {"model", "benchmark", "value", "data_fingerprint"} <= set(found["benchmarks"])
    assert found["roc_plot"].texts[0].get_text() == "no results"
    assert "no model is there to be evaluated" in caplog.messages
    assert found["verdict"].startswith("Nothing was scored")


def test_without_benchmarks_nothing_is_scored(tmp_path):
    found = run(tmp_path, {}, DRAWN)
    assert found["benchmarks"].empty
    assert found["verdict"].startswith("Nothing was scored")


def test_intervals_are_by_identity_where_people_are_known(table):
    with_interval = table[~table["metric"].str.contains("fold_std|rank|tpir")]
    assert with_interval["interval"].eq("95%, bootstrap by identity, 50 resamples").all()
    assert (with_interval["low"] <= with_interval["high"]).all()
    others = table[table["metric"].str.contains("fold_std|rank|tpir")]
    assert others[["low", "high"]].isna().all(axis=None)
    assert others["interval"].eq("").all()


def test_the_curves_of_all_benchmarks_are_drawn(everything):
    assert [axes.get_title() for axes in everything["roc_plot"].axes] == ["ijbc", "own", "held"]


def test_flags_change_the_templates(tmp_path):
    tree = write_tree(tmp_path / "IJBB", "ijbb", people=8)
    benchmarks = {"ijbb": {"kind": "ijb", "path": str(tree.root)}}
    values = []
    for flags in ({}, {"detector_scores": False}, {"normalize_images": True}, {"flip": False}):
        found = run(tmp_path, benchmarks, **flags)["benchmarks"]
        row = found.iloc[0]
        options = {"flip": True, "normalize_images": False, "detector_scores": True} | flags
        assert [row["flip"], row["normalized"], row["detector_score"]] == list(options.values())
        values.append(found["value"].tolist())
    assert len({tuple(value) for value in values}) == 4


def test_overlap_counts_what_training_still_holds(tmp_path):
    for home, numbers in (("bench", (0, 1)), ("train", (0, 5))):
        for person in range(4):
            for number in numbers:
                path = tmp_path / home / f"{home}{person}" / f"{number}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encode_jpeg(draw_face(2, person, number).image))
    rows = [f"bench{p}/0.jpg,bench{p}/1.jpg,1\nbench{p}/0.jpg,bench{(p + 1) % 4}/1.jpg,0" for p in range(4)]
    (tmp_path / "pairs.csv").write_text("\n".join(["a,b,is_same", *rows]))
    benchmarks = {
        "b": {
            "kind": "pairs_csv",
            "path": str(tmp_path / "bench"),
            "pairs_file": str(tmp_path / "pairs.csv"),
            "aligned": True,
            "folds": 2,
        }
    }
    sources = {"t": {"kind": "folder", "path": str(tmp_path / "train"), "aligned": True}}
    for rule, left in (("none", 4), ("images", 0)):
        found = run(tmp_path / rule, benchmarks, sources, rule)["benchmarks"]
        assert found["overlap"].unique().tolist() == [left]
