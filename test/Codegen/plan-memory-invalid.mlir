// RUN: galvatron-opt %s -rt-plan-memory -split-input-file -verify-diagnostics

// expected-error@+1 {{has cpu "vax", expected native, x86-64-v3 or x86-64-v4}}
rt.program @program threads 1 cpu "vax" optimizer "none" micro_batches 1 {
}
