"""What the few-shot study compares, and what decides a run's result."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from lafs_pipeline.cataloging.catalog import catalog_faces
from lafs_pipeline.cataloging.planning import CatalogSettings
from lafs_pipeline.evaluation.embeddings import EmbeddingStore
from lafs_pipeline.evaluation.evaluate import BenchmarkData, evaluate_model
from lafs_pipeline.evaluation.settings import EvaluateSettings, StudySettings
from lafs_pipeline.evaluation.study import Study, StudyRun, plan_study, pretraining_variants
from lafs_pipeline.faces.manifest import fingerprint
from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.protocols.open import BenchmarkSettings
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.sources.open import SourceSettings
from lafs_pipeline.training.jobs import RunContext
from lafs_pipeline.training.recipes.settings import AdaptSettings, PretrainSettings, RecognitionSettings
from lafs_pipeline.training.recipes.starts import forget_transformer
from lafs_pipeline.training.settings import TrainingSettings, deciding_configuration
from lafs_pipeline.views.parameters import ViewSettings

METHODS = ("scratch", "scratch_grid", "grid", "lafs", "lafs_no_noise", "lafs_all_landmarks")
TRANSFORMER = {"patch_size": 16, "dim": 16, "depth": 1, "heads": 2, "head_dim": 8, "mlp_dim": 32}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    folder = tmp_path_factory.mktemp("study")
    settings = CatalogSettings(
        sources={"drawn": SourceSettings(kind="synthetic", identities=8, images_per_identity=4)},
        benchmarks={"held": BenchmarkSettings(source="drawn", identities=4, pairs=40, folds=4)},
        threads=1,
    )
    catalog = catalog_faces(settings, 0, folder / "stores")
    tables = {name: getattr(catalog, name) for name in BenchmarkData.__annotations__ if name != "faces"}
    torch.manual_seed(0)
    lafs, other = (PartFViT(num_landmarks=9, landmark_width=0.25, **TRANSFORMER) for _ in range(2))
    return Study(
        backbones={"scratch": lafs, "lafs": lafs, "lafs_no_noise": other, "grid": FViT(**TRANSFORMER)},
        data=BenchmarkData(faces=catalog.manifest, **tables),
        adapt=AdaptSettings(shots=3),
        evaluate=EvaluateSettings(workers=0, resamples=0),
        store=EmbeddingStore(folder / "embeddings"),
        context=RunContext(folder / "study", 0, launch=LaunchSettings(processes=1)),
        steps=7,
    )


def test_seed_by_seed_every_shot_and_method():
    runs = plan_study(StudySettings(methods=("lafs", "grid"), shots=(0, 4), seeds=(3, 1)))
    assert [run.name for run in runs[:5]] == [
        "lafs-0shots-seed3",
        "grid-0shots-seed3",
        "lafs-4shots-seed3",
        "grid-4shots-seed3",
        "lafs-0shots-seed1",
    ]
    assert len(runs) == 8


@pytest.mark.parametrize("values", [{"seeds": (1, 1)}, {"shots": (2, 2)}, {"methods": ("lafs", "lafs")}])
def test_doubled_values_are_refused(values):
    (name,) = values
    with pytest.raises(LafsError, match=f"{name} is .*may stand once"):
        StudySettings(**values)


def test_negative_shots_are_refused():
    with pytest.raises(LafsError, match=r"shots is \[1, -2\]"):
        StudySettings(shots=(1, -2))


def changes(options: PretrainSettings, variant: PretrainSettings) -> dict[str, object]:
    """What tells the configurations of two pretrainings apart."""
    mine, theirs = (deciding_configuration(each) for each in (options, variant))
    mine |= mine.pop("views")
    theirs |= theirs.pop("views")
    return {name: theirs[name] for name in theirs if theirs[name] != mine[name]}


def test_a_variant_differs_in_what_it_is_named_after():
    options = PretrainSettings(views=ViewSettings(local_landmarks=9, token_positions="landmark"))
    variants = pretraining_variants(options, StudySettings(methods=METHODS))
    assert {name: changes(options, variant) for name, variant in variants.items()} == {
        "grid": {
            "methods": ["grid"],
            "local_size": 48,
            "local_scale": [0.05, 0.4],
            "local_landmarks": 36,
            "token_positions": "order",
        },
        "lafs": {},
        "lafs_no_noise": {"landmark_sigma": 0.0},
        "lafs_all_landmarks": {"local_landmarks": None},
    }


@pytest.mark.parametrize(
    ("methods", "needed"),
    [
        (("scratch", "lafs"), ["lafs"]),
        (("scratch_grid",), []),
        (("lafs_no_noise", "grid"), ["grid", "lafs_no_noise"]),
    ],
)
def test_only_what_methods_start_from_is_pretrained(methods, needed):
    assert list(pretraining_variants(PretrainSettings(), StudySettings(methods=methods))) == needed


@pytest.mark.parametrize(
    ("options", "method"),
    [
        (PretrainSettings(views=ViewSettings(landmark_sigma=0.0)), "lafs_no_noise"),
        (PretrainSettings(views=ViewSettings(local_landmarks=None)), "lafs_all_landmarks"),
    ],
)
def test_an_ablation_of_what_is_not_there_is_refused(options, method):
    with pytest.raises(LafsError, match=f"study.methods has {method}"):
        pretraining_variants(options, StudySettings(methods=("lafs", method)))


def test_where_each_method_starts(study):
    for method in ("lafs", "grid", "lafs_no_noise"):
        assert study.start(StudyRun(method, 1, 0)) is study.backbones[method]
    for method, like in (("scratch", "lafs"), ("scratch_grid", "grid")):
        first, second = (study.start(StudyRun(method, 1, seed)) for seed in (0, 1))
        assert model_digest(first) == model_digest(forget_transformer(study.backbones[like], 0))
        assert not torch.equal(first.transformer.positions, second.transformer.positions)
    with pytest.raises(LafsError, match="lafs_all_landmarks has not been pretrained"):
        study.start(StudyRun("lafs_all_landmarks", 1, 0))


def test_from_scratch_on_the_grid_needs_no_pretraining(study):
    without = replace(study, backbones={"scratch": study.backbones["scratch"]})
    run = StudyRun("scratch_grid", 2, 0)
    assert without.configuration(run) == study.configuration(run)


def test_what_decides_about_an_adaptation(study):
    """Results of earlier studies are found again by exactly this."""
    run = StudyRun("grid", 2, 1)
    assert study.configuration(run) == json.loads(
        json.dumps(
            {
                "run": {"method": "grid", "shots": 2, "seed": 1},
                "adapt": {
                    "shots": 2,
                    "identity_fraction": 1.0,
                    "min_images": 1,
                    "keys": None,
                    "recognition": deciding_configuration(study.adapt.recognition),
                },
                "steps": 7,
                "start": model_digest(study.backbones["grid"]),
                "data": fingerprint(study.data.faces),
                "flip": True,
            }
        )
    )


def test_without_shots_the_start_is_benchmarked_as_it_is(study):
    before = {name: model_digest(model) for name, model in study.backbones.items()}
    for seed in (0, 1):
        (result,) = study.execute(StudyRun("lafs", 0, seed), loggers=[])
        (expected,) = evaluate_model(
            study.backbones["lafs"], study.data, study.store, study.evaluate, study.context.launch, seed
        )
        np.testing.assert_array_equal(result.fold_accuracy, expected.fold_accuracy)
        assert study.finished(StudyRun("lafs", 0, seed)) == [result]
    scratch = [model_digest(study.start(StudyRun("scratch", 0, seed))) for seed in (0, 1)]
    assert scratch[0] != scratch[1]
    assert before == {name: model_digest(model) for name, model in study.backbones.items()}


def test_settings_that_cannot_change_the_result_do_not_repeat_an_adaptation(study, tmp_path):
    training = TrainingSettings(batch_size=8, epochs=1, workers=0)
    short = replace(
        study,
        adapt=AdaptSettings(recognition=RecognitionSettings(training=training, probe_images=0)),
        context=replace(study.context, folder=tmp_path),
        steps=None,
    )

    def with_training(**changes):
        changed = replace(training, **changes)
        return replace(
            short, adapt=AdaptSettings(recognition=RecognitionSettings(training=changed, probe_images=9))
        )

    run = StudyRun("lafs", 2, 0)
    results = short.execute(run, loggers=[])
    harmless = {"workers": 2, "log_every": 3, "max_minutes": 5.0, "checkpoint_every": 7, "resume": "must"}
    assert with_training(**harmless).finished(run) == results
    assert (
        replace(short, context=replace(short.context, launch=LaunchSettings(processes=2))).finished(run)
        == results
    )
    other = with_training(learning_rate=1e-3)
    assert other.finished(run) is None
    assert other.execute(run, loggers=[]) != []
    assert short.finished(run) == results
    assert len(list(tmp_path.rglob("metrics.jsonl"))) == 2
    assert not list(tmp_path.rglob("step-*"))


def test_a_frozen_start_does_not_depend_on_how_others_are_adapted(study):
    run = StudyRun("grid", 0, 0)
    study.execute(run, loggers=[])
    assert replace(study, steps=9, adapt=AdaptSettings(min_images=2)).finished(run) is not None
    fewer = {**study.backbones, "grid": study.start(StudyRun("scratch_grid", 0, 5))}
    assert replace(study, backbones=fewer).finished(run) is None
