"""Forget sets from data, attribution scores and files; row numbers, int64, sorted."""

from expunge.forget_sets.build import FORGET_SETS, ForgetSet, build
from expunge.forget_sets.chance import random_rows, random_share
from expunge.forget_sets.likeness import nearest, principal_end, whole_class
from expunge.forget_sets.listed import listed
from expunge.forget_sets.memorised import attribution_matrix, most_memorised, self_influence

__all__ = [
    "FORGET_SETS",
    "ForgetSet",
    "attribution_matrix",
    "build",
    "listed",
    "most_memorised",
    "nearest",
    "principal_end",
    "random_rows",
    "random_share",
    "self_influence",
    "whole_class",
]
