//===- VerifyMessages.h - Whether the tables of all stages fit together ---===//

#ifndef GALVATRON_LIB_SCHEDULE_VERIFYMESSAGES_H
#define GALVATRON_LIB_SCHEDULE_VERIFYMESSAGES_H

#include "Steps.h"

namespace galvatron {

/// Checks the tables of one step, of which each stage has one: that every message is received, in the order in which the other stage
/// sends, and waited for; and that no stages wait for each other, even if a message takes no memory on its way: `pipe.send` goes on at once,
/// `pipe.receive` waits for the send, and `pipe.wait` for the receive.
mlir::LogicalResult verifyMessages(llvm::ArrayRef<pipe::TableOp> tables);

} // namespace galvatron

#endif
