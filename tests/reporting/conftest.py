"""One report for all tests of its page."""

import numpy as np
import pandas as pd
import pytest
from tests.reporting.html_page import Page
from tests.reporting.made_up_report import QUALITY, SIZES, disagreements, hardest, made_up_table, png

from lafs_pipeline.cataloging.card import describe_dataset
from lafs_pipeline.cataloging.catalog import catalog_faces
from lafs_pipeline.cataloging.planning import CatalogSettings
from lafs_pipeline.evaluation.few_shot import FewShotResult
from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.reporting.history import History
from lafs_pipeline.reporting.report import ALT, ReportData, render_report
from lafs_pipeline.sources.open import SourceSettings


@pytest.fixture(scope="package")
def cataloged(tmp_path_factory):
    source = SourceSettings(kind="synthetic", identities=4, images_per_identity=3)
    packed = tmp_path_factory.mktemp("faces") / "stores"
    return catalog_faces(CatalogSettings(sources={"drawn": source}, threads=1), 0, packed)


@pytest.fixture(scope="package")
def complete(cataloged) -> ReportData:
    rng = np.random.default_rng(1)
    lines = [
        {"step": s, "loss": rng.random(), "learning_rate": 0.1, "teacher_entropy": 3.9} for s in range(1, 9)
    ]
    metrics = pd.DataFrame([*lines, {"step": 8, "knn_accuracy": 0.375, "knn_chance": 0.125}])
    configuration = {"seed": 11, "data": "d" * 32, "settings": {"prototypes": 64}}
    faces = cataloged.manifest
    study = [
        FewShotResult(method, shots, seed, "bench", tuple(rng.random(4)), tuple(rng.random(50)))
        for method in ("scratch", "lafs")
        for shots in (1, 4)
        for seed in (0, 1)
    ]
    return ReportData(
        facts={"seed": "11"},
        model=build_model("part_fvit_tiny_patch8_112", SIZES),
        card=describe_dataset(faces, cataloged.duplicates, cataloged.overlap, cataloged.rejected),
        benchmarks=made_up_table("bench", "other"),
        verdict="One is better.\nThe other is not.",
        hardest=hardest(faces),
        disagreements=disagreements(faces),
        faces=faces,
        pictures=dict.fromkeys(ALT, png()),
        landmark_quality=QUALITY,
        histories={
            name: History(name, metrics, configuration) for name in ("stage1", "pretrain_lafs", "own")
        },
        study=study,
        chances={"bench": 0.5},
        parameters={"pretrain": {"training": {"epochs": 3}}, "report": {}},
        seed=0,
    )


@pytest.fixture(scope="package")
def html(complete) -> str:
    return render_report(complete)


@pytest.fixture(scope="package")
def page(html) -> Page:
    return Page(html)
