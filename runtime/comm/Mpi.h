// Mpi.h: collectives by messages, between nodes.
#ifndef GALVATRON_RT_COMM_MPI_H
#define GALVATRON_RT_COMM_MPI_H

#include "comm/Communicator.h"

namespace galvatron_rt {

class MpiCommunicator;

/// The job that mpirun started. MPI must be initialised.
class MpiTransport : public Transport {
public:
  explicit MpiTransport(double timeout) : timeout(timeout) {}

  int64_t rank() const override;
  /// Collective over all ranks of the job: each calls it for each group in the same order.
  std::unique_ptr<Communicator> connect(int64_t group,
                                        const std::vector<int64_t> &members) override;
  std::unique_ptr<Channel> open(int64_t peer, int64_t stage) override;
  void progress() override;
  bool fail(const std::string &message) override;

private:
  friend class MpiCommunicator;

  double timeout;
  std::vector<MpiCommunicator *> communicators;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_COMM_MPI_H
