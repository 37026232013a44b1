"""The build backend of the repository's root: setuptools, run in this folder."""
import os

from setuptools import build_meta


def _here(hook):
    def call(*args, **kwargs):
        os.chdir(os.path.dirname(os.path.abspath(__file__)))
        return hook(*args, **kwargs)
    return call


build_wheel = _here(build_meta.build_wheel)
build_sdist = _here(build_meta.build_sdist)
build_editable = _here(build_meta.build_editable)
get_requires_for_build_wheel = _here(build_meta.get_requires_for_build_wheel)
get_requires_for_build_sdist = _here(build_meta.get_requires_for_build_sdist)
get_requires_for_build_editable = _here(build_meta.get_requires_for_build_editable)
prepare_metadata_for_build_wheel = _here(build_meta.prepare_metadata_for_build_wheel)
prepare_metadata_for_build_editable = _here(build_meta.prepare_metadata_for_build_editable)
