# The image of a worker on Dataflow, Flink or any portable engine, and of a batch job on one machine.
FROM apache/beam_python3.11_sdk:2.77.0
WORKDIR /opt/yt8m_pipeline
COPY scripts/requirements-gcp.lock scripts/requirements-gcp.lock
RUN pip install --no-cache-dir --compile --require-hashes --requirement scripts/requirements-gcp.lock
COPY pyproject.toml README.md LICENSE ./
COPY yt8m_pipeline yt8m_pipeline
COPY configs configs
RUN pip install --no-cache-dir --compile --no-deps --no-build-isolation .
