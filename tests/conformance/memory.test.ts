import { storeContract } from './store-contract.ts'
import { memory } from './stores.ts'

storeContract('memory', memory)
