// Wakes the vCPU's thread, wherever it is.
#pragma once

#include <pthread.h>
#include <semaphore.h>

#include <atomic>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "replay/guest_machine.h"

namespace ftvmm::node {

// Any thread: wake(). All else is the vCPU thread's own. Who wakes first makes its news visible (a
// queue, an atomic), then calls wake(); the vCPU thread looks at all news after each run() and each
// wait that says so, hence no wake-up is lost, and a flood of them costs one signal.
//
// state      what the vCPU thread does     wake() makes it woken and
// busy       it is between two runs        nothing more: it looks again before it runs or waits
// running    it is in machine.run()        sends the signal whose handler kicks the machine
// waiting    it sleeps in wait()           posts the semaphore
// woken      any of these, news pending    nothing more
class Waker {
  public:
    Waker();
    Waker(const Waker&) = delete;
    Waker& operator=(const Waker&) = delete;
    ~Waker();

    void wake();

    // The signal of the kicks. Timers may send it to the vCPU's thread too: it wakes.
    static int signal_number();

    // From here to leave_machine() the calling thread is the vCPU's and signals kick `machine`. It
    // has to live until the last wake() has returned.
    void enter_machine(replay::GuestMachine& machine);
    void leave_machine();

    // What follows needs no machine, but for runs.
    // Before run(): false where there is news, and then the machine may not run before
    // take_news().
    [[nodiscard]] bool begin_run();
    // After run().
    void end_run();
    // Sleeps until there is news.
    void wait();
    // Whether there is news since the last call. Afterwards the kicks that announced it are gone.
    [[nodiscard]] bool take_news();
    // When the first wake() since the last call was, if there was one. Behind take_news().
    [[nodiscard]] std::optional<Instant> take_wake_time();

    // Signals sent by wake().
    [[nodiscard]] std::uint64_t kicks() const { return kicks_.load(std::memory_order_relaxed); }

  private:
    enum State : int { kBusy, kRunning, kWaiting, kWoken };

    static void on_signal(int);
    // What both wake() and the handler do; what the state was.
    State make_woken();

    std::atomic<int> state_{kBusy};
    std::atomic<std::uint64_t> kicks_{0};
    std::atomic<Instant::rep> woken_at_{0};  // 0: not.
    SystemClock clock_;
    sem_t posted_{};
    // Atomic: the wake() that kicked the machine before may still read it as the next one is
    // entered.
    std::atomic<pthread_t> thread_{};
    replay::GuestMachine* machine_ = nullptr;
};

}  // namespace ftvmm::node
