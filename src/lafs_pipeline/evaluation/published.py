"""Published results on IJB-B and IJB-C, to read a benchmark table against."""

from typing import NamedTuple


class PublishedResult(NamedTuple):
    """One row of a paper's table; TAR at FAR 1e-4 of 1:1 verification in per cent, None where not given."""

    method: str
    data: str
    ijb_b: float | None
    ijb_c: float | None
    paper: str
    address: str


_PART_FVIT = ("Sun and Tzimiropoulos, BMVC 2022", "https://arxiv.org/abs/2212.00057")
_LAFS = ("Sun et al., CVPR 2024", "https://arxiv.org/abs/2403.08161")
_ADAFACE = ("Kim et al., CVPR 2022", "https://arxiv.org/abs/2204.00964")
_KP_RPE = ("Kim et al., CVPR 2024", "https://arxiv.org/abs/2403.14852")
_PARTIAL_FC = ("An et al., CVPR 2022", "https://arxiv.org/abs/2203.15565")

PUBLISHED = (
    PublishedResult("LAFS + Part fViT", "WebFace4M", 96.28, 97.58, *_LAFS),
    PublishedResult("Part fViT", "WebFace4M", 96.05, 97.40, *_PART_FVIT),
    PublishedResult("Part fViT", "MS1MV3", None, 97.29, *_PART_FVIT),
    PublishedResult("ViT-B, AdaFace", "WebFace4M", 95.60, 97.14, *_KP_RPE),
    PublishedResult("ViT-B, KP-RPE, AdaFace", "WebFace12M", 96.55, 97.82, *_KP_RPE),
    PublishedResult("IR-101, AdaFace", "WebFace4M", 96.10, 97.46, *_ADAFACE),
    PublishedResult("ViT-L, Partial FC", "WebFace42M", None, 98.00, *_PARTIAL_FC),
)
