// Delay.cpp: see Delay.h.
#include "comm/Delay.h"

#include "core/Clock.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

namespace galvatron_rt {
namespace {

class DelayingCommunicator : public Communicator {
public:
  DelayingCommunicator(Transport &transport, std::unique_ptr<Communicator> communicator, double delay)
      : transport(transport), communicator(std::move(communicator)), delay(delay) {}

  void start(const Collective &collective) override {
    due[collective.out] = secondsNow() + delay;
    communicator->start(collective);
  }

  void complete(const void *out) override {
    communicator->complete(out);
    // Others may wait for this rank's part of what else is under way.
    constexpr double slice = 2e-4;
    for (double left; (left = due.at(out) - secondsNow()) > 0; transport.progress())
      std::this_thread::sleep_for(std::chrono::duration<double>(std::min(left, slice)));
    due.erase(out);
  }

  int64_t largest(CollectiveName name, int64_t value) override {
    return communicator->largest(name, value);
  }

private:
  Transport &transport;
  std::unique_ptr<Communicator> communicator;
  double delay; // seconds
  std::map<const void *, double> due;
};

} // namespace

std::unique_ptr<Communicator> DelayingTransport::connect(int64_t group,
                                                         const std::vector<int64_t> &members) {
  return std::make_unique<DelayingCommunicator>(transport, transport.connect(group, members), delay);
}

} // namespace galvatron_rt
