def test_the_doctor_names_versions_devices_and_space(entangle):
    found = entangle("doctor", "--json")
    assert found.code == 0
    what = {row["what"]: row for row in found.json["rows"]}
    assert {"python", "torch", "onnxruntime", "hdf5", "OPENBLAS_CORETYPE"} <= set(what)
    assert "CPUExecutionProvider" in what["onnxruntime providers"]["found"]
