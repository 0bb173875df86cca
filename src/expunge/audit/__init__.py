"""The examiner: arrays in, numbers out; it knows neither methods nor models.

`evidence.read` loads a folder of arrays, `document.document` turns it into the content of
`audit.json`; every metric is a file of its own, and a function of arrays.
"""
