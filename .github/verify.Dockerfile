# The image in which `grokbench verify --container` runs an entry's agent.
FROM python:3.12-slim
WORKDIR /grokbench
COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt '.[optimizers]' && chmod -R a+rX /grokbench
