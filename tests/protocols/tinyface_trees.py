"""Small trees in the form of TinyFace, of drawn faces."""

import numpy as np
from scipy.io import savemat

from lafs_pipeline.faces.decode import encode_jpeg
from lafs_pipeline.sources.synthetic.faces import draw_face


def write_list(path, stem, names, people):
    """As published: a column of cells that each hold a name, and a column of numbers."""
    cells = np.empty((len(names), 1), object)
    cells[:, 0] = names
    savemat(path, {f"{stem}_set": cells, f"{stem}_ids": np.array(people, np.uint16)[:, None]})


def write_tinyface(root, people=4, distractors=3):
    """Two images a person in the gallery, one probe a person, distractors of others."""
    lists = {"Gallery_Match": ([], []), "Probe": ([], [])}
    drawn = [("Gallery_Match", p, n) for p in range(people) for n in (0, 1)]
    drawn += [("Probe", p, 2) for p in range(people)]
    drawn += [("Gallery_Distractor", 50 + n, 0) for n in range(distractors)]
    for folder, person, number in drawn:
        (root / folder).mkdir(parents=True, exist_ok=True)
        name = f"{person}_{number}.jpg"
        (root / folder / name).write_bytes(encode_jpeg(draw_face(3, person, number).image))
        if folder in lists:
            lists[folder][0].append(name)
            lists[folder][1].append(person + 1)
    write_list(root / "gallery_match_img_ID_pairs.mat", "gallery", *lists["Gallery_Match"])
    write_list(root / "probe_img_ID_pairs.mat", "probe", *lists["Probe"])
    return root
