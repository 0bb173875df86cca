"""Rows by number, as device batches, wherever they lie."""

from expunge.data.data import CHUNK as CHUNK
from expunge.data.data import Batch as Batch
from expunge.data.data import Data as Data
from expunge.data.data import fetched as fetched
from expunge.data.data import refuse_unusable as refuse_unusable
from expunge.data.data import walk as walk
from expunge.data.dataset import DatasetData as DatasetData
from expunge.data.mapped import MappedData as MappedData
from expunge.data.padding import Padding as Padding
from expunge.data.tensors import TensorData as TensorData
