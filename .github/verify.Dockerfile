# Where `grokbench verify --container` lets an entry's agent run.
FROM python:3.12-slim
WORKDIR /grokbench
COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt . && chmod -R a+rX /grokbench
