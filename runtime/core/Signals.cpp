// Signals.cpp: see Signals.h. A process has one set of signal handlers, so what they write is static.
#include "core/Signals.h"

#include <atomic>
#include <csignal>
#include <mutex>

namespace galvatron_rt {
namespace {

struct StopSignal {
  int signal;
  const char *name;
};
constexpr StopSignal stopSignals[] = {{SIGTERM, "SIGTERM"}, {SIGINT, "SIGINT"}, {SIGUSR1, "SIGUSR1"}};

std::atomic<int> wish{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler must not wait for a lock");

void onSignal(int signal) {
  // Supervisors repeat SIGTERM, and mpirun sends it after the SIGINT that a terminal gave all: only a
  // second Ctrl-C is impatience.
  int none = 0;
  if (wish.compare_exchange_strong(none, signal) || signal != SIGINT)
    return;
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

} // namespace

void catchStopSignals() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_handler = onSignal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    for (const StopSignal &row : stopSignals)
      sigaction(row.signal, &action, nullptr);
  });
}

int stopSignal() { return wish.load(std::memory_order_relaxed); }

const char *signalName(int signal) {
  for (const StopSignal &row : stopSignals)
    if (row.signal == signal)
      return row.name;
  return "a signal";
}

} // namespace galvatron_rt
