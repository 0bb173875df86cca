"""The examiner: arrays in, numbers out; it knows neither methods nor models.

`evidence.folder.read` loads a folder of arrays, `verdict.document.document` computes the content of
audit.json from it. Every metric is a file of its own.
"""
