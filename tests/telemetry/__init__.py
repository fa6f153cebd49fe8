"""What pools export, as it arrives in OpenTelemetry's in-memory exporters."""
