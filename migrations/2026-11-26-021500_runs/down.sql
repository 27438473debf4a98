DROP TABLE diesel_advisory.runs;
