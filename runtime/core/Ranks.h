// Ranks.h: the ranks of a job, as threads of this process or each as a process of its own.
#ifndef GALVATRON_RT_CORE_RANKS_H
#define GALVATRON_RT_CORE_RANKS_H

#include "core/Launch.h"
#include "core/Session.h"

namespace galvatron_rt {

/// Runs a session for every rank of the program, whose stages have `images`, each on a
/// thread of its own. Returns what the sessions
/// return. Throws the Error of the rank that failed first; the others end when they next wait for it.
int runAsThreads(const galvatron_rt_image *images, const Options &options,
                  const std::string &ownWeights);

/// Runs the session of this process's rank of the job, and returns what it returns. Throws its own
/// Error, or a PeerError if another rank has failed.
int runAsProcess(const galvatron_rt_image *images, const Options &options,
                  const std::string &ownWeights, const Job &job);

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_RANKS_H
