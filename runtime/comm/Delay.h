// Delay.h: a transport whose collectives take longer, as over a slower network: what a step hides of
// that, and what it does not, can be seen without one.
#ifndef GALVATRON_RT_COMM_DELAY_H
#define GALVATRON_RT_COMM_DELAY_H

#include "comm/Communicator.h"

namespace galvatron_rt {

/// Does what `transport` does; a collective is done at the earliest `delay` seconds after this rank
/// has started it. Those that are under way at the same time do not slow each other down, and messages
/// between stages are as fast as ever.
class DelayingTransport : public Transport {
public:
  DelayingTransport(Transport &transport, double delay) : transport(transport), delay(delay) {}

  int64_t rank() const override { return transport.rank(); }
  std::unique_ptr<Communicator> connect(int64_t group,
                                        const std::vector<int64_t> &members) override;
  std::unique_ptr<Channel> open(int64_t peer, int64_t stage) override {
    return transport.open(peer, stage);
  }
  void progress() override { transport.progress(); }
  bool fail(const std::string &message) override { return transport.fail(message); }

private:
  Transport &transport;
  double delay;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_COMM_DELAY_H
