#include "cli/replay_debug.h"

#include <fmt/format.h>

#include <utility>

#include "debug/gdb_session.h"
#include "node/log.h"
#include "vmm/host/debug_socket.h"

namespace ftvmm::cli {

Result<std::optional<node::ReplayCursor::How>> debug_replay(const std::string& where,
                                                            node::DebugSource source) {
    FTVMM_ASSIGN(auto socket, host::DebugSocket::listen(where));
    source.is_interrupted = [&socket] { return socket.is_interrupted(); };
    FTVMM_ASSIGN(const auto replay, node::DebugReplay::begin(std::move(source)));
    const bool is_port = where.find('/') == std::string::npos;
    node::log_to_stderr(fmt::format("waiting for a debugger: target remote {}{}",
                                    is_port ? "localhost:" : "", where));
    FTVMM_TRY(socket.accept());
    debug::GdbSession session(*replay);
    while (!session.is_over()) {
        FTVMM_ASSIGN(const auto bytes, socket.receive());
        if (bytes.empty()) break;
        FTVMM_ASSIGN(const auto reply, session.receive(bytes));
        FTVMM_TRY(socket.send(reply));
    }
    return replay->end();
}

}  // namespace ftvmm::cli
