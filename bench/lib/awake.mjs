// Cores that do not sleep. In a virtual machine an idle core takes a tenth of a millisecond and more to wake, several times a request: latencies
// of idle machines tell of that. With a process on every core that yields to all others, they tell of the programs.

import { spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'

/** Keeps every core awake until what it answers is called. Linux gives way at once (SCHED_IDLE); elsewhere the lowest priority must do. */
export function keepAwake() {
  const spin = [process.execPath, '-e', "require('node:os').setPriority(19); process.on('disconnect', () => process.exit()); const turn = () => { for (let i = 0; i < 1e7; i++); setImmediate(turn) }; turn()"]
  const [program, ...parameters] = process.platform === 'linux' ? ['chrt', '--idle', '0', ...spin] : spin
  const children = Array.from({ length: availableParallelism() }, () => {
    const start = (name, list) => spawn(name, list, { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
    const holder = { child: start(program, parameters) }
    // A system without chrt.
    holder.child.once('error', () => { holder.child = start(spin[0], spin.slice(1)) })
    return holder
  })
  return () => {
    for (const { child } of children) child.kill('SIGKILL')
  }
}
