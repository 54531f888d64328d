// Processes.h: the ranks of a job as processes that mpirun started.
#ifndef GALVATRON_RT_COMM_PROCESSES_H
#define GALVATRON_RT_COMM_PROCESSES_H

#include "comm/SharedMemory.h"
#include "core/Arena.h"

#include <string>

namespace galvatron_rt {

/// Connects all ranks; every rank of MPI_COMM_WORLD calls it once, with its arena or with the
/// `problem` that keeps it from going on. Ranks that see each other's memory share it; across nodes
/// it is MPI. Throws an Error with the problem, a PeerError if an earlier rank has the same one or
/// only others have problems.
std::unique_ptr<Transport> connectProcesses(const Arena *arena, const std::string &problem,
                                            const BlockSizes &sizes, double timeout);

} // namespace galvatron_rt

#endif // GALVATRON_RT_COMM_PROCESSES_H
