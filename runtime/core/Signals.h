// Signals.h: how somebody asks a running program to end.
#ifndef GALVATRON_RT_CORE_SIGNALS_H
#define GALVATRON_RT_CORE_SIGNALS_H

namespace galvatron_rt {

/// From now on SIGTERM, SIGINT (Ctrl-C) and SIGUSR1 (which mpirun passes on without killing anybody) are a
/// wish to end, which stopSignal() gives; until then, and when SIGINT comes after a first wish, they end
/// the process at once. Calls after the first one do nothing.
void catchStopSignals();

/// The signal that asked this process to end, 0 = none has.
int stopSignal();

/// "SIGTERM".
const char *signalName(int signal);

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_SIGNALS_H
