"""RecordIO, the packed image format of InsightFace's data sets."""

from lafs_pipeline.faces.recordio_format import ImageRecord
from lafs_pipeline.sources.recordio.reader import RecordIOReader
from lafs_pipeline.sources.recordio.writer import RecordIOWriter

__all__ = ["ImageRecord", "RecordIOReader", "RecordIOWriter"]
