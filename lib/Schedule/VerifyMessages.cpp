//===- VerifyMessages.cpp -------------------------------------------------===//
//
// The tables are run, without what they compute. As nothing depends on who is
// faster, one run tells of all.
//
//===----------------------------------------------------------------------===//

#include "VerifyMessages.h"

#include <deque>
#include <map>

using namespace mlir;
using namespace galvatron;

namespace {

std::string describe(int64_t transfer, std::optional<int64_t> microBatch) {
  std::string text = ("transfer " + Twine(transfer)).str();
  return microBatch ? (text + " of micro-batch " + Twine(*microBatch)).str() : text;
}

template <typename Row> std::string describe(Row row) {
  std::optional<uint64_t> microBatch = row.getMicroBatch();
  return describe(row.getTransfer(), microBatch ? std::optional<int64_t>(*microBatch) : std::nullopt);
}

class MessageVerifier {
public:
  explicit MessageVerifier(ArrayRef<pipe::TableOp> tables) : stages(tables.size()) {
    for (pipe::TableOp table : tables)
      stages[table.getStage()] = {table, table.getRows().front().begin()};
  }
  LogicalResult verify();

private:
  struct Stage {
    pipe::TableOp table;
    Block::iterator next;
    std::map<int64_t, std::deque<pipe::SendOp>> sent; ///< to each stage, and not waited for yet
  };

  bool isDone(int64_t stage) { return stages[stage].next == stages[stage].table.getRows().front().end(); }
  /// Runs rows of a stage until one has to wait; whether there were any.
  bool advance(int64_t stage);
  /// Runs a row; false if it has to wait.
  bool run(int64_t stage, Operation *row);
  bool runWait(int64_t stage, pipe::WaitOp wait);
  bool runReceive(int64_t stage, pipe::ReceiveOp receive);
  bool checkPeer(int64_t stage, Operation *row, int64_t peer);
  void reportWaiting();
  int64_t peerOf(int64_t stage);

  std::vector<Stage> stages;
  std::map<std::pair<int64_t, int64_t>, std::deque<pipe::SendOp>> underway; ///< from one stage to another
  DenseSet<Operation *> received;                                         ///< sends
  bool ok = true;
};

bool MessageVerifier::checkPeer(int64_t stage, Operation *row, int64_t peer) {
  if (peer != stage && peer < int64_t(stages.size()))
    return true;
  row->emitOpError("of stage ") << stage << " names stage " << peer << " of " << stages.size();
  ok = false;
  return false;
}

bool MessageVerifier::runWait(int64_t stage, pipe::WaitOp wait) {
  std::deque<pipe::SendOp> &sent = stages[stage].sent[wait.getTo()];
  auto isSame = [&](pipe::SendOp send) {
    return send.getTransfer() == wait.getTransfer() && send.getMicroBatchAttr() == wait.getMicroBatchAttr() &&
           send.getValue() == wait.getValue();
  };
  if (sent.empty() || !isSame(sent.front())) {
    InFlightDiagnostic error = wait.emitOpError("waits for ") << describe(wait);
    if (llvm::any_of(sent, isSame))
      error << ", but " << describe(sent.front()) << " was sent to stage " << wait.getTo() << " before it and is not waited for yet";
    else
      error << ", which no earlier row sends to stage " << wait.getTo();
    ok = false;
    return true;
  }
  if (!received.contains(sent.front()))
    return false;
  sent.pop_front();
  return true;
}

bool MessageVerifier::runReceive(int64_t stage, pipe::ReceiveOp receive) {
  std::deque<pipe::SendOp> &messages = underway[{receive.getFrom(), stage}];
  if (messages.empty())
    return false;
  pipe::SendOp send = messages.front();
  messages.pop_front();
  received.insert(send);
  if (send.getTransfer() != receive.getTransfer() || send.getMicroBatchAttr() != receive.getMicroBatchAttr()) {
    receive.emitOpError("receives ") << describe(receive) << ", but what stage " << receive.getFrom() << " sends next is "
                                     << describe(send);
    ok = false;
  } else if (send.getValue().getType() != receive.getType()) {
    receive.emitOpError("receives ") << receive.getType() << ", but stage " << receive.getFrom() << " sends " << send.getValue().getType();
    ok = false;
  }
  return true;
}

bool MessageVerifier::run(int64_t stage, Operation *row) {
  if (auto send = dyn_cast<pipe::SendOp>(row)) {
    if (checkPeer(stage, row, send.getTo())) {
      stages[stage].sent[send.getTo()].push_back(send);
      underway[{stage, send.getTo()}].push_back(send);
    }
    return true;
  }
  if (auto wait = dyn_cast<pipe::WaitOp>(row))
    return !checkPeer(stage, row, wait.getTo()) || runWait(stage, wait);
  if (auto receive = dyn_cast<pipe::ReceiveOp>(row))
    return !checkPeer(stage, row, receive.getFrom()) || runReceive(stage, receive);
  return true;
}

bool MessageVerifier::advance(int64_t stage) {
  bool moved = false;
  while (ok && !isDone(stage) && run(stage, &*stages[stage].next)) {
    ++stages[stage].next;
    moved = true;
  }
  return moved;
}

/// The stage that one that stands still waits for.
int64_t MessageVerifier::peerOf(int64_t stage) {
  Operation *row = &*stages[stage].next;
  auto wait = dyn_cast<pipe::WaitOp>(row);
  return wait ? wait.getTo() : cast<pipe::ReceiveOp>(row).getFrom();
}

/// Somebody waits: for a stage that has come to its end, or for one that waits as well, in a circle.
void MessageVerifier::reportWaiting() {
  int64_t stage = 0;
  while (isDone(stage))
    ++stage;
  std::vector<int64_t> path;
  while (!isDone(stage) && !llvm::is_contained(path, stage)) {
    path.push_back(stage);
    stage = peerOf(stage);
  }
  auto tell = [&](auto &&stream, int64_t waiting) {
    Operation *row = &*stages[waiting].next;
    if (auto wait = dyn_cast<pipe::WaitOp>(row))
      stream << "stage " << waiting << " waits for stage " << wait.getTo() << " to receive " << describe(wait);
    else
      stream << "stage " << waiting << " waits for stage " << peerOf(waiting) << " to send "
             << describe(cast<pipe::ReceiveOp>(row));
  };
  std::string text;
  llvm::raw_string_ostream stream(text);
  if (isDone(stage)) {
    tell(stream, path.back());
    stages[path.back()].next->emitOpError("can never go on: ") << text << ", which it never does";
    return;
  }
  auto begin = llvm::find(path, stage);
  Operation *row = &*stages[*begin].next;
  for (auto it = begin; it != path.end(); ++it) {
    stream << (it == begin ? "" : ", ");
    tell(stream, *it);
  }
  row->emitOpError("can never go on: ") << text;
}

LogicalResult MessageVerifier::verify() {
  for (bool moved = true; moved && ok;) {
    moved = false;
    for (int64_t stage = 0, count = stages.size(); stage < count; ++stage)
      moved |= advance(stage);
  }
  if (!ok)
    return failure();
  for (int64_t stage = 0, count = stages.size(); stage < count; ++stage)
    if (!isDone(stage)) {
      reportWaiting();
      return failure();
    }
  for (auto &[channel, messages] : underway)
    for (pipe::SendOp send : messages) {
      send.emitOpError("sends ") << describe(send) << ", which stage " << channel.second << " never receives";
      ok = false;
    }
  for (Stage &stage : stages)
    for (auto &[to, messages] : stage.sent)
      for (pipe::SendOp send : messages)
        if (received.contains(send)) {
          send.emitOpError("sends ") << describe(send) << " and never waits until stage " << to << " has it";
          ok = false;
        }
  return success(ok);
}

} // namespace

LogicalResult galvatron::verifyMessages(ArrayRef<pipe::TableOp> tables) {
  int64_t count = tables.size();
  DenseSet<int64_t> seen;
  for (pipe::TableOp table : tables) {
    if (int64_t(table.getStage()) >= count)
      return table.emitOpError("is of stage ") << table.getStage() << ", but @" << pipe::getStepName(table) << " has tables of " << count
                                               << (count == 1 ? " stage" : " stages");
    if (!seen.insert(table.getStage()).second)
      return table.emitOpError("is the second table of stage ") << table.getStage() << " of @" << pipe::getStepName(table);
    if (table.getMicroBatches() != pipe::TableOp(tables.front()).getMicroBatches())
      return table.emitOpError("has ") << table.getMicroBatches() << " micro-batches, but another stage "
                                       << pipe::TableOp(tables.front()).getMicroBatches();
  }
  return MessageVerifier(tables).verify();
}
