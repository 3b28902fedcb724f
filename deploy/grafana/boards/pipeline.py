"""Pipeline: from arrival to alert, how much, how fast, how late, and what it costs."""

from __future__ import annotations

from deploy.grafana.panels import (
    GREEN,
    ORANGE,
    RED,
    Board,
    Query,
    heatmap,
    series,
    stat,
    states,
    table,
    timeseries,
    variable,
)

NOW = [
    stat(
        "Ready", "1 while every process can do its work; /readyz of the other one says why not.",
        Query("min(tapewatch_ready)"), unit="short", steps=[(None, RED), (1, GREEN)],
    ),
    stat(
        "Scored", "Documents a second that the model judged.", Query("tapewatch:scored_documents:rate5m"), unit="cps",
    ),
    stat(
        "Behind", "How long the oldest record waits for the slowest stage.",
        Query("max(tapewatch:stage_lag_seconds:max)"), unit="s", steps=[(None, GREEN), (60, ORANGE), (600, RED)],
    ),
    stat(
        "News to alert, p90", "Nine of ten alerts of the last hour were decided faster after the publication.",
        Query("tapewatch:publish_to_alert_seconds:p90_1h"), unit="s", steps=[(None, GREEN), (300, ORANGE), (900, RED)],
    ),
    stat(
        "Dead letters", "Share of the last hour's documents that could not be handled.",
        Query("tapewatch:dead_letters:ratio1h"), unit="percentunit", steps=[(None, GREEN), (0.0001, ORANGE), (0.01, RED)],
    ),
    stat(
        "Room for the store", "Bytes left where the store lies. When it is full, nothing is accepted.",
        Query("min(tapewatch_store_free_bytes)"), unit="bytes", steps=[(None, RED), (1e9, ORANGE), (2e10, GREEN)],
    ),
]  # fmt: skip

FLOW = [
    timeseries(
        "Arrival", "Items a second that sources brought, by what became of them. Duplicates are what feeds show again.",
        Query("sum by (outcome) (tapewatch:documents:rate5m)", "{{outcome}}"), unit="cps", stack=True, wide=12,
    ),
    timeseries(
        "Arrival against judged", "Where judged stays below new, lag grows.",
        Query('sum(rate(tapewatch_documents_total{outcome=~"accepted|revision"}[$__rate_interval]))', "new"),
        Query("sum(rate(tapewatch_scored_documents_total[$__rate_interval]))", "judged"),
        Query("sum(rate(tapewatch_unsupported_language_total[$__rate_interval]))", "other languages"),
        unit="cps", wide=12,
    ),
    timeseries(
        "Behind, in time", "Age of the oldest record that a stage has not handled.",
        Query("max by (stage) (tapewatch_stage_lag_seconds)", "{{stage}}"), unit="s", wide=8,
        steps=[(None, GREEN), (60, ORANGE), (600, RED)], defaults={"min": 0},
    ),
    timeseries(
        "Behind, in records", "Records that a stage has not handled.",
        Query("sum by (stage) (tapewatch_stage_lag_records)", "{{stage}}"), unit="short", wide=8, defaults={"min": 0},
    ),
    timeseries(
        "Not committed (Kafka)", "How long a stage has handled records whose offsets are not committed.",
        Query("max by (stage) (tapewatch_commit_age_seconds)", "{{stage}}"), unit="s", wide=12,
        steps=[(None, GREEN), (30, ORANGE), (120, RED)], defaults={"min": 0},
    ),
    timeseries(
        "Partitions (Kafka)", "Partitions of a stage's input, by the process that has them, and those that nobody has.",
        Query("tapewatch_stage_partitions", "{{stage}} {{instance}}"),
        Query("tapewatch:stage_partitions:unattended", "{{stage}} nobody"), unit="short", wide=12, defaults={"min": 0},
    ),
    timeseries(
        "Gone unread (Kafka)", "Records that brokers let go of before a stage had read them: raise [engine] retention.",
        Query("sum by (stage) (increase(tapewatch_stage_gone_total[$__rate_interval]))", "{{stage}}"), unit="short",
        wide=6, steps=[(None, GREEN), (1, RED)], defaults={"min": 0},
    ),
    timeseries(
        "Read again (Kafka)", "Records that did not come to a stage in their turn, mostly when partitions changed hands, "
        "and that it read from Kafka itself. None is lost.",
        Query("sum by (stage) (increase(tapewatch_stage_left_out_total[$__rate_interval]))", "{{stage}}"), unit="short",
        wide=6, defaults={"min": 0},
    ),
    timeseries(
        "News to alert", "From the publication of the document that crossed the threshold to the decision.",
        Query(
            "histogram_quantile(0.5, sum by (le) (increase(tapewatch_publish_to_alert_seconds_bucket[1h])))", "p50"
        ),
        Query("tapewatch:publish_to_alert_seconds:p90_1h", "p90"), unit="s", wide=8,
        steps=[(None, GREEN), (900, RED)],
    ),
    timeseries(
        "Stories", "Evidence a second: counted once, told before (reprints), too late to count, forgotten for room.",
        Query("sum(rate(tapewatch_counted_evidence_total[$__rate_interval]))", "counted"),
        Query("sum(rate(tapewatch_reprints_total[$__rate_interval]))", "reprints"),
        Query("sum(rate(tapewatch_late_evidence_total[$__rate_interval]))", "late"),
        Query("sum(rate(tapewatch_story_evictions_total[$__rate_interval]))", "evicted"),
        unit="cps", wide=12,
    ),
    timeseries(
        "Dead letters in 15 minutes", "Records that a stage could not handle, by reason. See tapewatch dead-letters list.",
        Query("tapewatch:dead_letters:increase15m", "{{stage}}: {{reason}}"), unit="short", wide=12,
        steps=[(None, GREEN), (1, RED)], defaults={"min": 0},
    ),
]  # fmt: skip

BATCHES = [
    timeseries(
        "Time of a batch", "Time to judge one batch, medians and the slowest of a hundred.",
        Query(
            "histogram_quantile(0.5, sum by (le) (rate(tapewatch_score_batch_seconds_bucket[$__rate_interval])))", "p50"
        ),
        Query("tapewatch:score_batch_seconds:p99_5m", "p99"), unit="s",
    ),
    heatmap(
        "Documents in a batch", "Small batches mean that it keeps up; large ones that it works off a backlog.",
        Query(
            "sum by (le) (increase(tapewatch_score_batch_documents_bucket[$__rate_interval]))", "{{le}}",
        ),
        unit="short",
    ),
    timeseries(
        "Documents a batch", "Mean size of the batches.",
        Query(
            "sum(rate(tapewatch_score_batch_documents_sum[$__rate_interval]))"
            " / sum(rate(tapewatch_score_batch_documents_count[$__rate_interval]))",
            "mean",
        ),
        unit="short", defaults={"min": 0},
    ),
]  # fmt: skip

PROCESS = [
    timeseries(
        "CPU", "Cores that each process uses.",
        Query('sum by (instance) (rate(process_cpu_seconds_total{job="tapewatch"}[$__rate_interval]))', "{{instance}}"),
        unit="short", defaults={"min": 0},
    ),
    timeseries(
        "Memory", "Resident memory of each process. It is bounded under any backlog.",
        Query('max by (instance) (process_resident_memory_bytes{job="tapewatch"})', "{{instance}}"), unit="bytes",
        defaults={"min": 0},
    ),
    timeseries(
        "Store", "Size of the store and the room left beside it.",
        Query("max by (instance) (tapewatch_store_bytes)", "{{instance}}: store"),
        Query("max by (instance) (tapewatch_store_free_bytes)", "{{instance}}: free"),
        unit="bytes", overrides=[series("free", **{"custom.axisPlacement": "right"})],
    ),
    states(
        "Readiness", "Whether each process could do its work.", Query("max by (instance) (tapewatch_ready)", "{{instance}}"),
        words={"0": ("not ready", RED), "1": ("ready", GREEN)},
    ),
    timeseries(
        "Requests", "Answers a second over HTTP, by route and status; 429 and 503 refuse documents for a while.",
        Query("sum by (route, status) (rate(tapewatch_http_requests_total[$__rate_interval]))", "{{status}} {{route}}"),
        unit="reqps",
    ),
    timeseries(
        "Streams", "Pages and programs that follow the stream, and within the hour those that were let go of as they "
        "took nothing, were refused as one too many, or had to begin anew.",
        Query("sum by (instance) (tapewatch_stream_listeners)", "{{instance}}: open"),
        Query('sum by (why) (increase(tapewatch_streams_ended_total{why!="went"}[1h]))', "{{why}}"),
        Query("sum(increase(tapewatch_stream_resets_total[1h]))", "began anew"), unit="short",
    ),
    timeseries(
        "Sign-ins", "Sign-ins to the page within the hour, by the role they gave; refused: a wrong token.",
        Query("sum by (role) (increase(tapewatch_sign_ins_total[1h]))", "{{role}}"), unit="short",
    ),
    table(
        "Versions", "What each process runs, and the hash of the settings it runs with. They should agree.",
        Query("max by (instance, version) (tapewatch_build_info)", table=True),
        Query("max by (instance, sha256) (tapewatch_config_info)", table=True),
        unit="short", hide=["Value #A", "Value #B"],
        columns={"instance": "process", "version": "version", "sha256": "settings"},
    ),
]  # fmt: skip

BOARD = Board(
    uid="tapewatch-pipeline",
    title="tapewatch: Pipeline",
    description="From arrival to alert: how much, how fast, how late, and what it costs.",
    rows={"Now": NOW, "Flow": FLOW, "Batches": BATCHES, "Processes": PROCESS},
    variables=[variable("stage", "Stage", "label_values(tapewatch_stage_lag_seconds, stage)")],
)
